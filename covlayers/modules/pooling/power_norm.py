"""Matrices with their singular values raised to a power."""

from typing import Unpack

import torch
from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional._base.checks import (
    check_at_most,
    check_count,
    check_flag,
)
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.linalg import frobenius_norm, identity_like
from covlayers.functional._base.tensors import check_shape, check_tensor, full_precision
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules._ranges import HasAlpha, in_range
from covlayers.modules.pooling._power_iteration import cosines, leading_part


class SVPowerNorm(HasAlpha):
    r"""Singular value power normalisation (svPN): the leading ones exactly, the others by a scale.

    With the leading singular triples :math:`(u_k, s_k, v_k)`, :math:`k \le r`, of :math:`Q`,

    .. math:: y = \sum_{k \le r} s_k^\alpha u_k v_k^\top
              + \frac{1}{s_r^{1-\alpha} + \varepsilon} R, \qquad
              R = Q - \sum_{k \le r} s_k u_k v_k^\top .

    Each triple comes by power iteration, :math:`v \leftarrow Q^\top Q v` with norm 1, from which
    :math:`s = \lVert Q v \rVert` and :math:`s u = Q v`, and is taken off :math:`Q` before the next.
    The first starts from all ones, the :math:`k`-th from
    :math:`\cos(\pi (k - 1)(d - \tfrac12)/D)`: orthogonal starts, so that none vanishes where
    another is a singular vector. Up to :math:`\varepsilon`, converged triples give
    :math:`Q\, g(Q^\top Q)` with :math:`g(\lambda) = \max(\lambda, s_r^2)^{(\alpha-1)/2}`, and a
    single one, converged or not, :math:`Q / s_1^{1-\alpha}`.

    The publication ends half a step before the default: at :math:`u = Q v` with norm 1 and
    :math:`s v = Q^\top u`, as this layer does with ``published=True``. It starts all triples from
    one vector, as this layer does from learnt starts that are equal; its program has that vector on
    the side of the rows.

    The layer differentiates the iterations themselves, to any order: a truncated geometric series
    in the ratios of singular values in place of inverse gaps, bounded where singular values are
    equal.
    A start far from the leading vector makes :math:`s` too small; unlike the publication, the layer
    keeps it above half of the root mean square of the singular values left, below which no leading
    one lies. A start that :math:`Q` maps to zero up to rounding shrinks instead of being raised to
    norm 1.

    With ``num_values=None`` all singular values are raised, without iterations:

    .. math:: y = Q\, (Q^\top Q + 4 \epsilon \lVert Q \rVert_F^2 I)^{(\alpha-1)/2}
              \approx U S^\alpha V^\top,

    by :func:`covlayers.functional.powm` on the smaller side of :math:`Q`, with the exact and
    bounded gradient of :class:`~covlayers.functional.Loewner`, first order only. The machine
    epsilon :math:`\epsilon` there is what the product :math:`Q^\top Q` knows singular values to:
    those below :math:`2 \sqrt\epsilon \lVert Q \rVert_F` (7e-4 in float32) come out smaller, and
    zero stays zero.

    A zero matrix gives zero, with a finite gradient. Half matrices compute in float32, under
    autocast too, and the result has their dtype.

    Args:
        num_features: columns :math:`D \ge 1` of :math:`Q`, for starts that are learnt; None for
            fixed ones and any :math:`D`.
        alpha: exponent :math:`\alpha` in [0, 1].
        learnable: whether to learn :math:`\alpha`, from ``alpha`` on.
        num_values: singular values :math:`r` to raise, at most the smaller side of :math:`Q`; None
            for all.
        iterations: steps of the power iteration for each, at least 1.
        published: whether the last step is half a step, as published; not used with
            ``num_values=None``.
        eps: :math:`\varepsilon \ge 0`, in units of :math:`Q` to the power :math:`1 - \alpha`; not
            used with ``num_values=None``.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(*, C, D)`
        - Output: :math:`(*, C, D)`

    Raises:
        InvalidValueError: for an option out of range, and for ``num_features`` or ``learnable``
            with ``num_values=None``, when the module is built; for an input with fewer than two
            dimensions, other columns than ``num_features``, or a side below ``num_values``.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.

    Example:
        >>> Q = torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
        >>> SVPowerNorm(num_values=None)(Q).round(decimals=3)
        tensor([[2., 0., 0.],
                [0., 0., 3.]])

    Reference:
        :cite:t:`xie2021sovit`; the gradient of the iterations: :cite:t:`wang2019backpropagation`.
        All singular values at once is ours.
    """

    eps: float = in_range(0)
    start: nn.Parameter | None

    def __init__(
        self,
        num_features: int | None = None,
        *,
        alpha: float = 0.5,
        learnable: bool = False,
        num_values: int | None = 1,
        iterations: int = 1,
        published: bool = False,
        eps: float = 1e-5,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        check_count("iterations", iterations)
        check_flag("learnable", learnable)
        check_flag("published", published)
        check_factory(self, factory)
        if num_features is not None:
            check_count("num_features", num_features)
        if num_values is not None:
            check_count("num_values", num_values)
        elif learnable or num_features is not None:
            raise InvalidValueError(
                "num_values must be an int with num_features or learnable=True, got None; all "
                "singular values at once have no start and a fixed exponent."
            )
        self.num_features = num_features
        self.initial_alpha = alpha
        self.learnable = learnable
        self.num_values = num_values
        self.iterations = iterations
        self.published = published
        self.eps = eps
        self.alpha = alpha
        if learnable:
            self.alpha = nn.Parameter(torch.empty((), **factory))
        self.register_parameter("start", None)
        if num_values is not None and num_features is not None:
            check_at_most("num_values", num_values, "num_features", num_features)
            start = torch.empty(num_values, num_features, **factory)
            self.start = nn.Parameter(start)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The exponent and the starts as when the module was built."""
        if isinstance(self.alpha, nn.Parameter):
            self.alpha.fill_(self.initial_alpha)
        if self.start is not None:
            num_values, size = self.start.shape
            self.start.copy_(cosines(num_values, size, self.start))

    def forward(self, Q: Tensor) -> Tensor:
        """Raise the singular values of ``(*, C, D)``."""
        check_tensor("Q", Q, 2)
        if self.num_features is not None:
            reason = f"for num_features={self.num_features}"
            check_shape("Q", Q, (self.num_features,), reason)
        if Q.numel() == 0:
            return Q
        if self.num_values is not None:
            check_at_most("num_values", self.num_values, "min(C, D)", min(Q.shape[-2:]))
        return self._raise(Q)

    @full_precision
    def _raise(self, Q: Tensor) -> Tensor:
        scale = frobenius_norm(Q.detach())  # (*, 1, 1)
        if self.num_values is None:
            alpha = float(self.alpha)
            return scale**alpha * _raise_all(Q / scale, alpha)
        return self._raise_leading(Q / scale, scale, self.num_values)

    def _raise_leading(self, Q: Tensor, scale: Tensor, num_values: int) -> Tensor:
        # Q is now the scaled one, of norm 1, and what the triples have left of it.
        starts = cosines(num_values, Q.shape[-1], Q) if self.start is None else self.start.to(Q)
        raised, s = torch.zeros_like(Q), scale
        for start in nn.functional.normalize(starts):
            part, value = leading_part(Q, start, self.iterations, self.published)
            s = scale * value
            raised = raised + s ** (self.alpha - 1) * part
            Q = Q - part
        return scale * (raised + Q / (s ** (1 - self.alpha) + self.eps))

    def extra_repr(self) -> str:
        """The options."""
        alpha = self.initial_alpha if self.learnable else self.alpha
        return (
            f"num_features={self.num_features}, alpha={alpha}, "
            f"learnable={self.learnable}, num_values={self.num_values}, "
            f"iterations={self.iterations}, published={self.published}, eps={self.eps}"
        )


def _raise_all(Q: Tensor, alpha: float) -> Tensor:
    """``U S^alpha Vᵀ`` of matrices of norm 1."""
    wide = Q.shape[-2] < Q.shape[-1]
    gram = Q @ Q.mT if wide else Q.mT @ Q
    gram = gram + 4 * torch.finfo(Q.dtype).eps * identity_like(gram)
    power = F.powm(gram, (alpha - 1) / 2)
    return power @ Q if wide else Q @ power
