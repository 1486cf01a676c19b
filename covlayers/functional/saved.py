"""What is kept of the forward pass for a backward rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import Spectrum, decompose_positive


@dataclass(frozen=True)
class Saved:
    """What a rule may read: the input, the outputs by name, the spectrum.

    Args:
        A: the matrices ``(*, n, n)``; None for a rule that does not read them.
        outputs: the matrices ``(*, n, n)`` that the rule reads, by the names of their functions;
            zeros with their derivatives where the spectrum has their values.
        known_spectrum: the spectrum of a method that has one, else None.
        dtype: the dtype in which the rule computes.
        norm: the Frobenius norm of ``A``, ``(*, 1, 1)``; None for a rule that does not read it.
        eigenvalues: of the outputs, ``(*, n)``, by their names, in the order of the eigenvectors;
            empty where the outputs are kept themselves.

    Example:
        >>> saved = Saved(torch.eye(2), outputs={})
        >>> values, vectors, residual = saved.spectrum
        >>> values
        tensor([1., 1.])
    """

    A: Tensor | None
    outputs: Mapping[str, Tensor]
    known_spectrum: Spectrum | None = None
    dtype: torch.dtype = torch.float32
    norm: Tensor | None = None
    eigenvalues: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def input(self) -> Tensor:
        """The matrix, for a rule that lists ``"A"`` in its ``reads``."""
        assert self.A is not None
        return self.A

    @property
    def spectrum(self) -> Spectrum:
        """The method's spectrum, or the spectrum of ``A`` where the method had none.

        Its residual is ``UᵀAU`` less the eigenvalues, from a method that refines, else None.
        """
        return self.known_spectrum or decompose_positive(self.input).spectrum

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is kept."""
        kept = [self.A, *self.outputs.values(), *(self.known_spectrum or ())]
        return tuple([one for one in kept if one is not None])
