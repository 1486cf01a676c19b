"""Decorrelated batch normalisation: batch normalisation that also removes correlation."""

from typing import Unpack

from covlayers import functional as F
from covlayers.functional.core import Method, SpectralMethod
from covlayers.functional.matrix_functions import check_cell
from covlayers.functional.rule import Backward
from covlayers.functional.whitening_kinds import whitening
from covlayers.modules.norms._channel_affine import chosen_groups
from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.modules.norms.running_moments import NormOptions


class DecorrelatedBatchNorm(CovarianceNorm):
    r"""Batch normalisation that whitens: decorrelated batch normalisation.

    .. math:: y = \operatorname{diag}(\gamma)\, W (x - \mu) + \beta, \qquad
              W \hat\Sigma W^\top = I, \qquad
              \hat\Sigma = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{c} I
              + \varepsilon I

    per group of :math:`c = C/G` channels, with mean :math:`\mu` and covariance :math:`\Sigma` over
    the batch and all positions. With ``num_groups=num_features`` it is
    :class:`torch.nn.BatchNorm2d` in output, gradients and running averages.

    For the backward pass one function keeps the input and small matrices only. Half inputs are
    computed in float32, and the output has the dtype of the input. In evaluation the layer computes
    the matrix once and keeps it while the running averages have the same values, whoever wrote
    them, and how. A graph of ``torch.compile`` compares them too. On an accelerator, where the host
    does not wait for a comparison, each pass computes the matrix; :func:`fold` leaves none.

    A batch that is empty or not finite leaves the running averages as they were. So does a forward
    pass that raises.

    Under activation checkpointing the forward pass may run twice. The recomputation does not update
    the averages.

    Args:
        num_features: channels :math:`C \ge 1`.
        num_groups: groups :math:`G` of :math:`c = C/G` channels, each whitened on its own; must
            divide ``num_features``, one by default. Fewer channels per group need fewer samples.
        eps: :math:`\varepsilon \ge 0`, in squared units of the features.
        momentum: weight of the batch in the running averages, in [0, 1]; None for the plain average
            over all batches since the last reset.
        affine: whether to learn a scale :math:`\gamma` and a shift :math:`\beta` for each channel.
        track_running_stats: whether to keep running averages. A layer without them takes the
            statistics of the batch in evaluation too. Set later, it says whether the averages move,
            as in torch.
        group_size: channels :math:`c` per group, in place of ``num_groups``; must divide
            ``num_features``.
        kind: ``"zca"``, ``"pca"``, ``"cholesky"``, ``"zca_cor"`` or ``"pca_cor"``, see
            :func:`covlayers.functional.whitening_matrix`. The PCA kinds are discontinuous where
            eigenvalues cross, and make training noisy; they are for analysis.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.
        sync: which processes share the statistics of a training batch. ``"auto"``, the default,
            takes the default process group, or this process alone where there is no group. True
            takes the default process group, and raises where there is none. False takes this
            process alone. A ``torch.distributed.ProcessGroup`` takes its processes. Every process
            of the group must run the layer equally often, forward and backward; its share of the
            batch may have any size, and may be empty.
        method: how to compute the matrix, see :func:`covlayers.functional.invsqrtm`.
        backward: how to differentiate it; None for the method's default.
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Attributes:
        running_mean: running average of :math:`\mu`, of shape :math:`(C)`.
        running_cov: running average of the unbiased :math:`\Sigma`, of shape :math:`(G, c, c)`.
        num_batches_tracked: how many batches they have seen.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C, *)`, in the memory format of the input

    Raises:
        InvalidValueError: for an option out of range or an unknown name, when the layer is built;
            for an input with other channels, or with a single position in training.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.
        UnsupportedError: if the method or the rule does not fit the kind, when the layer is built;
            for ``sync=True`` without a process group, in training.

    Example:
        >>> norm = DecorrelatedBatchNorm(16, num_groups=2, affine=False)
        >>> y = norm(torch.randn(32, 16, 8, 8) * 5 + 1)
        >>> cov = covariance(y.transpose(0, 1).flatten(1)[:8])
        >>> torch.allclose(cov, torch.eye(8), atol=1e-3)
        True

    Reference:
        :cite:t:`huang2018decorrelated`; :cite:t:`kessy2018optimal` for the kinds.
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = None,
        eps: float = 1e-3,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        group_size: int | None = None,
        kind: str = "zca",
        shrinkage: float | None = None,
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        **options: Unpack[NormOptions],
    ) -> None:
        super().__init__(
            num_features,
            chosen_groups(num_features, num_groups, group_size),
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
            **options,
        )
        self.shrinkage = shrinkage
        self.kind = kind
        self.matrix_function = whitening(kind, method, backward)
        cell = check_cell((), method, backward)
        # "auto" stays a word, as the Cholesky kind takes no method at all
        self.method, self.backward = (method if method == "auto" else cell[0]), cell[1]
        # An eigendecomposition makes the host wait more than a comparison does.
        self.may_wait = kind.startswith("pca") or isinstance(cell[0], SpectralMethod)

    def extra_repr(self) -> str:
        """The options, method and rule as objects."""
        cell = f"kind={self.kind!r}, method={self.method}, backward={self.backward}"
        return f"{super().extra_repr()}, {cell}"


class IterNorm(DecorrelatedBatchNorm):
    r"""Whitening by Newton-Schulz iteration: iterative normalisation.

    .. math:: P_0 = I, \quad P_{k+1} = \tfrac12 (3 P_k - P_k^3 \hat\Sigma_N), \qquad
              W = P_N / \sqrt{\operatorname{tr} \hat\Sigma}, \quad
              \hat\Sigma_N = \hat\Sigma / \operatorname{tr} \hat\Sigma

    with the :math:`\hat\Sigma` of :class:`DecorrelatedBatchNorm`, scale and shift as there. The
    gradient goes through the steps. A few steps whiten the small eigenvalues in part, which
    regularises: :math:`N = 5` steps scale no direction by more than
    :math:`7.6/\sqrt{\operatorname{tr} \hat\Sigma}`.

    The publication keeps a running average of :math:`W`. This layer keeps the running average of
    :math:`\Sigma`, so a checkpoint does not depend on the method.

    Args:
        num_features, num_groups, eps, momentum, affine, track_running_stats: as
            :class:`DecorrelatedBatchNorm`.
        group_size: as :class:`DecorrelatedBatchNorm`.
        iterations: steps :math:`N \ge 1`.
        sync, device, dtype: as :class:`DecorrelatedBatchNorm`.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C, *)`

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`DecorrelatedBatchNorm`.
        UnsupportedError: for ``sync=True`` without a process group, in training.

    Example:
        >>> IterNorm(64, num_groups=4)(torch.randn(32, 64, 8, 8)).shape
        torch.Size([32, 64, 8, 8])

    Reference:
        :cite:t:`huang2019iterative`.
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        group_size: int | None = None,
        iterations: int = 5,
        **options: Unpack[NormOptions],
    ) -> None:
        # all that the base takes is given, so that nothing else passes with the options
        super().__init__(
            num_features,
            num_groups,
            eps,
            momentum,
            affine,
            track_running_stats,
            group_size=group_size,
            kind="zca",
            shrinkage=None,
            method=F.NewtonSchulz(iterations),
            backward=F.Autograd(),
            **options,
        )
