"""Classification of a vision transformer by the second-order statistics of its tokens."""

from typing import Any

import torch
from torch import Tensor, nn

from covlayers.functional._base.checks import check_choice, check_count, check_flag
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import check_shape, check_tensor
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules.pooling.build_pool import PoolFactory, build_pool
from covlayers.modules.pooling.presets import MPACovPool


class SumFusion(nn.Module):
    """One classifier of the class token plus the projected pooled vector."""

    def __init__(self, embed_dim: int, pooled: int, num_classes: int, **factory: Any) -> None:
        super().__init__()
        self.projection = nn.Linear(pooled, embed_dim, **factory)
        self.classifier = nn.Linear(embed_dim, num_classes, **factory)

    def forward(self, class_token: Tensor, pooled: Tensor) -> Tensor:
        """Classify ``(N, D)`` and ``(N, F)``."""
        return self.classifier(class_token + self.projection(pooled))


class ConcatFusion(nn.Module):
    """One classifier of the class token and the pooled vector, side by side."""

    def __init__(self, embed_dim: int, pooled: int, num_classes: int, **factory: Any) -> None:
        super().__init__()
        self.classifier = nn.Linear(embed_dim + pooled, num_classes, **factory)

    def forward(self, class_token: Tensor, pooled: Tensor) -> Tensor:
        """Classify ``(N, D)`` and ``(N, F)``."""
        return self.classifier(torch.cat([class_token, pooled], 1))


class LateFusion(nn.Module):
    """A classifier of the class token and one of the pooled vector, whose logits add up."""

    def __init__(self, embed_dim: int, pooled: int, num_classes: int, **factory: Any) -> None:
        super().__init__()
        self.classifier = nn.Linear(embed_dim, num_classes, **factory)
        self.visual_classifier = nn.Linear(pooled, num_classes, **factory)

    def forward(self, class_token: Tensor, pooled: Tensor) -> Tensor:
        """Classify ``(N, D)`` and ``(N, F)``."""
        return self.classifier(class_token) + self.visual_classifier(pooled)


class VisualOnly(nn.Module):
    """A classifier of the pooled vector; the class token is left aside."""

    def __init__(self, embed_dim: int, pooled: int, num_classes: int, **factory: Any) -> None:
        super().__init__()
        self.classifier = nn.Linear(pooled, num_classes, **factory)

    def forward(self, class_token: Tensor | None, pooled: Tensor) -> Tensor:
        """Classify ``(N, F)``."""
        return self.classifier(pooled)


FUSIONS: dict[str, type[nn.Module]] = {
    "sum": SumFusion,
    "concat": ConcatFusion,
    "late": LateFusion,
    "visual_only": VisualOnly,
}


class SecondOrderHead(nn.Module):
    r"""The logits of a vision transformer, from its class token and the other tokens' covariance.

    The class token :math:`t \in \mathbb{R}^D` and the pooled vector :math:`v` of the visual tokens
    :math:`X \in \mathbb{R}^{D \times M}`, for :class:`~covlayers.CovPool` the entries of
    :math:`\operatorname{cov}(X)^{1/2}`, are fused to

    .. math:: \underbrace{W (t + P v)}_{\texttt{sum}} \qquad
              \underbrace{W \begin{bmatrix} t \\ v \end{bmatrix}}_{\texttt{concat}} \qquad
              \underbrace{W_t\, t + W_v\, v}_{\texttt{late}} \qquad
              \underbrace{W v}_{\texttt{visual_only}}

    where each of :math:`W, W_t, W_v, P` has a bias. The order of the visual tokens does not matter.
    ``"late"`` is the fusion of the papers.

    Args:
        embed_dim: length :math:`D \ge 1` of a token.
        num_classes: number :math:`K \ge 1` of logits.
        pool: class, or function, to build the pooling of ``(N, D, M)`` to ``(N, F)`` from
            ``embed_dim``, ``device``, ``dtype`` and options; it has the attribute ``out_features``,
            :math:`F`.
        fusion: ``"sum"``, ``"concat"``, ``"late"`` or ``"visual_only"``, as above.
        class_token: whether the first token is a class token; without one, all are visual and
            ``fusion`` must be ``"visual_only"``.
        device: of the parameters.
        dtype: of the parameters.
        **options: of ``pool``, e.g. ``reduced_channels``; without it there are
            :math:`D(D+1)/2` features.

    Shape:
        - Input: :math:`(N, L, D)`, class token first, with at least two visual tokens
        - Output: :math:`(N, K)`

    Raises:
        InvalidValueError: for a number out of range, an unknown ``fusion`` or one that needs a
            class token where there is none, when the module is built; for tokens that are not
            :math:`(N, L, D)`, or too few; and as ``pool`` itself.
        InvalidTypeError: for an option of a wrong type, a ``pool`` that builds no module with
            ``out_features``, or tokens that are not real floating.

    Example:
        >>> head = SecondOrderHead(192, 10, fusion="late", reduced_channels=16)
        >>> head(torch.randn(4, 1 + 49, 192)).shape
        torch.Size([4, 10])

    Reference:
        :cite:t:`xie2021sovit`, :cite:t:`song2022inverse`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        *,
        pool: PoolFactory = MPACovPool,
        fusion: str = "sum",
        class_token: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_count("embed_dim", embed_dim)
        check_count("num_classes", num_classes)
        check_choice("fusion", fusion, tuple(FUSIONS))
        check_flag("class_token", class_token)
        factory: Factory = {"device": device, "dtype": dtype}
        check_factory(self, factory)
        if not class_token and FUSIONS[fusion] is not VisualOnly:
            raise InvalidValueError(
                f"fusion must be 'visual_only' with class_token=False, got {fusion!r}; there is no "
                "class token to fuse. Set fusion='visual_only', or class_token=True."
            )
        self.embed_dim = embed_dim
        self.num_classes = num_classes
        self.class_token = class_token
        self.pool = build_pool(pool, embed_dim, options, **factory)
        self.fusion = FUSIONS[fusion](embed_dim, self.pool.out_features, num_classes, **factory)

    def forward(self, tokens: Tensor) -> Tensor:
        """Classify ``(N, L, D)``."""
        check_tensor("tokens", tokens, 3)
        reason = f"with embed_dim={self.embed_dim}"
        check_shape("tokens", tokens, (self.embed_dim,), reason)
        first = int(self.class_token)
        if tokens.dim() != 3 or tokens.shape[1] < first + 2:
            raise InvalidValueError(
                f"tokens must have shape (N, L, {self.embed_dim}) with L at least {first + 2}, "
                f"got {tuple(tokens.shape)}; a covariance needs two visual tokens"
                f"{' beside the class token' if first else ''}."
            )
        visual = tokens[:, first:].transpose(1, 2)  # (N, D, M)
        pooled = self.pool(visual).to(tokens.dtype)  # (N, F)
        return self.fusion(tokens[:, 0] if first else None, pooled)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.embed_dim}, {self.num_classes}, class_token={self.class_token}"
