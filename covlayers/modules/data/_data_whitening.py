"""Whitening of data: a fixed linear map, fitted once and applied to samples."""

import warnings
from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from covlayers import functional as F
from covlayers.functional._base.checks import check_count
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import full_precision
from covlayers.functional._batch.memory_layout import like_format
from covlayers.functional.core import Method
from covlayers.functional.matrix_functions import check_cell
from covlayers.functional.whitening_kinds import whitening
from covlayers.modules._derived_matrices import Kept, Options
from covlayers.modules._factory import Factory
from covlayers.modules._made_once import regularized_in_float64
from covlayers.modules._outweighing_eps import lacks
from covlayers.modules._ranges import in_range
from covlayers.modules.data._data_statistics import DataStatistics
from covlayers.modules.data._observations import (
    Features,
    check_features,
    from_rows,
    number,
    observation_shape,
    to_rows,
)


class DataWhiteningOptions(Factory, total=False):
    """The options of every whitening of data."""

    eps: float
    shrinkage: float | None
    patch_size: int | None


class DataWhitening(DataStatistics):
    r"""Base of the layers that whiten data by a matrix that was fitted to the data.

    .. math:: y = W (x - \mu), \qquad W \hat\Sigma W^\top = I, \qquad
              x = \hat\Sigma W^\top y + \mu

    The two matrices are derived from the covariance when that has changed, and kept.
    """

    may_wait = True
    remedies = "a shrinkage, a larger eps or more data"  # for a singular covariance
    eps: float = in_range(0)
    shrinkage: float | None = in_range(0, 1, optional=True)

    def __init__(
        self,
        num_features: int | Sequence[int] | None,
        *,
        kind: str,
        method: str | Method,
        n_components: int | None,
        eps: float = 1e-5,
        shrinkage: float | None = None,
        patch_size: int | None = None,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(num_features, patch_size, **factory)
        if n_components is not None:
            check_count("n_components", n_components)
        self.eps, self.shrinkage = eps, shrinkage
        self.kind, self.n_components = kind, n_components
        # "auto" stays a word, as the Cholesky kind takes no method at all
        self.method = method if method == "auto" else check_cell((), method, None)[0]
        self._whitening = whitening(kind, method, None)
        self._warned = False
        if self.num_features is not None:
            self.adopt(self.num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Whiten ``(N, *)``."""
        W, _ = self._current()
        shape = observation_shape("x", x, self.patch_size)
        check_features("x", x, shape, "num_features", self._features)
        return like_format(self._whiten(x, W=W), x)

    def inverse(self, y: Tensor) -> Tensor:
        """The data ``(N, *)`` that were whitened to ``y``; of leading components, their projection.

        Raises:
            InvalidValueError: before ``fit``, or if ``y`` has not the shape of whitened data.
            InvalidTypeError: if ``y`` is not a real floating tensor.
        """
        _, C = self._current()
        shape = observation_shape("y", y, self._white_side)
        if self.n_components is None:
            check_features("y", y, shape, "num_features", self._features)
        else:
            check_features("y", y, shape, "n_components", self.n_components)
        return like_format(self._color(y, C=C), y)

    @full_precision
    def _whiten(self, x: Tensor, *, W: Tensor) -> Tensor:
        rows = to_rows(x, self.patch_size)  # (n, D)
        z = F.whiten(rows.mT, self.mean.to(rows.dtype), W.to(rows.dtype)).mT  # (n, K)
        return from_rows(z, self._white_shape(x), self._white_side)

    @full_precision
    def _color(self, y: Tensor, *, C: Tensor) -> Tensor:
        z = to_rows(y, self._white_side)  # (n, K)
        rows = F.color(z.mT, self.mean.to(z.dtype), C.to(z.dtype)).mT  # (n, D)
        return from_rows(rows, self._data_shape(y), self.patch_size)

    def matrices(self) -> tuple[Tensor, Tensor]:
        r"""Copies of :math:`W`, of shape :math:`(K, D)`, and its right inverse :math:`(D, K)`.

        The layer computes them when mean or covariance have other values than before. A graph of
        ``torch.compile`` does so at each call, until a call outside of it keeps the result.

        Raises:
            InvalidValueError: before ``fit``.
        """
        W, C = self._current()
        return W.clone(), C.clone()

    @property
    def whitening_matrix(self) -> Tensor:
        """The first of :meth:`matrices`."""
        return self.matrices()[0]

    @property
    def coloring_matrix(self) -> Tensor:
        """The second of :meth:`matrices`."""
        return self.matrices()[1]

    def _current(self) -> tuple[Tensor, ...]:
        if self._kept is None:
            self._check_fitted()
        return self.current()

    @property
    def _white_side(self) -> int | None:
        """Side of what a patch becomes: the patch again, or one position of K channels."""
        return self.patch_size and (self.patch_size if self.n_components is None else 1)

    def _white_shape(self, x: Tensor) -> tuple[int, ...]:
        if self.n_components is None:
            return tuple(x.shape)
        p = self.patch_size
        grid = () if p is None else (x.shape[2] // p, x.shape[3] // p)
        return x.shape[0], self.n_components, *grid

    def _data_shape(self, y: Tensor) -> tuple[int, ...]:
        if self.n_components is None:
            return tuple(y.shape)
        p = self.patch_size
        if p is not None:
            return y.shape[0], len(self.mean) // p**2, y.shape[2] * p, y.shape[3] * p
        features = self._features
        return y.shape[0], *((features,) if isinstance(features, int) else features)

    @property
    def _features(self) -> Features:
        return len(self.mean) if self.num_features is None else self.num_features

    def adopt(self, features: Features) -> None:
        if self.n_components is not None and self.n_components > number(features):
            raise InvalidValueError(
                f"n_components must be at most the number of features, {number(features)}, got "
                f"{self.n_components}."
            )
        super().adopt(features)

    @full_precision
    def derive(self, options: Options, *sources: Tensor) -> tuple[Tensor, ...]:
        cov, mean, _ = sources
        A = regularized_in_float64(cov, mean, *options)
        W = self._whitening(A)[: self.n_components]
        return W.to(cov.dtype), (A @ W.mT).to(cov.dtype)

    def keep(self, sources: tuple[Tensor, ...]) -> Kept:
        self._check_fitted()
        self._check_scarcity(int(self.num_samples))
        kept = super().keep(sources)
        self._check_rank(kept.matrices[0])
        return kept

    def _check_fitted(self) -> None:
        if not self.derivable():
            raise InvalidValueError(
                f"{type(self).__name__} must be fitted to data first, got none yet; call fit(x), "
                "or partial_fit(x) for each batch."
            )

    def _check_scarcity(self, samples: int) -> None:
        D = len(self.mean)
        scarce = samples <= (self.n_components or D) and self.shrinkage is None
        if scarce:
            self._warn(
                f"{samples} observations for the covariance of {D} features, which is singular: "
                f"eps={self.eps} alone bounds its inverse. Take {self.remedies}."
            )

    def _check_rank(self, W: Tensor) -> None:
        if not self._warned and self.shrinkage is None:
            what = lacks(W, self.covariance.diagonal(), self.eps)
            if what:
                self._warn(what)

    def _warn(self, what: str) -> None:
        """Once for a layer."""
        if not self._warned:
            self._warned = True
            warnings.warn(f"{type(self).__name__} has {what}", stacklevel=6)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, eps={self.eps}, shrinkage={self.shrinkage}, "
            f"patch_size={self.patch_size}"
        )
