"""What is kept of the forward pass for a backward rule."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from covlayers.functional._base.decomposition import decompose, positive
from covlayers.functional.core import Spectrum


@dataclass(frozen=True)
class Saved:
    """What a rule may read: the input, the outputs by name, the spectrum.

    Args:
        A: the matrices ``(*, n, n)``; None for a rule that does not read them.
        outputs: the matrices ``(*, n, n)`` that the rule reads, by the names of their functions.
        known_spectrum: eigenvalues ``(*, n)`` and eigenvectors, and a residual, where there are.

    Example:
        >>> saved = Saved(torch.eye(2), outputs={}, known_spectrum=())
        >>> values, vectors = saved.spectrum
        >>> values
        tensor([1., 1.])
    """

    A: Tensor | None
    outputs: Mapping[str, Tensor]
    known_spectrum: tuple[Tensor, ...]

    @property
    def input(self) -> Tensor:
        """The matrix, for a rule that lists ``"A"`` in its ``reads``."""
        assert self.A is not None
        return self.A

    @property
    def spectrum(self) -> Spectrum:
        """The method's spectrum, or that of ``A`` where the method had none."""
        values, vectors, *_ = self.known_spectrum or decompose(self.input)
        return positive(values, vectors)

    @property
    def residual(self) -> Tensor | None:
        """What the spectrum lacks of ``UᵀAU``, from a method that refines, else None."""
        return self.known_spectrum[2] if len(self.known_spectrum) > 2 else None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is kept."""
        A = () if self.A is None else (self.A,)
        return *A, *self.outputs.values(), *self.known_spectrum
