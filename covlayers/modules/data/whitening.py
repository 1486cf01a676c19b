"""The three usual whitenings of data."""

from collections.abc import Sequence
from typing import Unpack

from covlayers.functional.core import Method
from covlayers.modules.data._data_whitening import DataWhitening, DataWhiteningOptions


class ZCAWhitening(DataWhitening):
    r"""Whitening that changes the data least: zero-phase component analysis.

    .. math:: y = \hat\Sigma^{-1/2} (x - \mu), \qquad
              \hat\Sigma = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{D} I
              + \varepsilon I

    with the mean :math:`\mu` and the covariance :math:`\Sigma` of the data. ``fit(x)`` takes all
    data at once, ``partial_fit(x)`` one batch after another. Whitened images still look like
    images, with their edges in relief. ``inverse(y)`` gives the data back.

    This is a transform of data, not a layer to train. Only ``fit``, ``partial_fit`` and checkpoints
    change the statistics, and gradients flow to the input. Half inputs are computed in float32, and
    the output has the dtype of the input. The layer computes the matrices once and keeps them while
    mean and covariance have the same values, whoever wrote them, and how. A graph of
    ``torch.compile`` compares them too.

    Args:
        num_features: number :math:`D \ge 1` of features, or their shape, for instance
            :math:`(C, H, W)`; None takes the shape of the first data, or the number in a
            checkpoint.
        eps: :math:`\varepsilon \ge 0`, in squared units of the features, 1e-5 by default.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.
        patch_size: side :math:`p \ge 1` of square patches. Each :math:`p \times p` patch of an
            image is then an observation of its own, with :math:`D = C p^2` features of shape
            :math:`(C, p, p)`; None for whole samples.
        method: how to compute the matrix, see :func:`covlayers.functional.invsqrtm`. The inverse is
            as exact as the method.
        device: of the buffers.
        dtype: of the buffers, float32 at least; None for the dtype of the first data. The two
            matrices are made in float64.

    Attributes:
        mean: :math:`\mu`, of shape :math:`(D)`.
        covariance: :math:`\Sigma`, divided by the number of observations, of shape :math:`(D, D)`.
        num_samples: the number of observations.

    Shape:
        - Input: :math:`(N, *)` with :math:`D` features in :math:`*`; with ``patch_size``
          :math:`(N, C, H, W)`, with any :math:`H` and :math:`W` divisible by :math:`p`
        - Output: as the input, in its memory format

    Raises:
        InvalidValueError: for an option out of range or an unknown name, when the layer is built;
            before ``fit``; for an input with other features.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.
        UnsupportedError: if the method does not fit the kind, when the layer is built.

    Example:
        >>> images = torch.rand(100, 1, 4, 4)
        >>> whitening = ZCAWhitening().fit(images)
        >>> y = whitening(images)
        >>> torch.allclose(covariance(y.flatten(1).mT), torch.eye(16), atol=1e-3)
        True
        >>> torch.allclose(whitening.inverse(y), images, atol=1e-4)
        True

    Reference:
        :cite:t:`bell1997independent`; :cite:t:`kessy2018optimal`; for patches
        :cite:t:`coates2011analysis`.
    """

    def __init__(
        self,
        num_features: int | Sequence[int] | None = None,
        *,
        method: str | Method = "auto",
        **options: Unpack[DataWhiteningOptions],
    ) -> None:
        super().__init__(num_features, kind="zca", method=method, n_components=None, **options)

    def extra_repr(self) -> str:
        """The options and the method."""
        return f"{super().extra_repr()}, method={self.method}"


class PCAWhitening(DataWhitening):
    r"""Whitening along the principal components, and projection on the leading components.

    .. math:: y = \Lambda_k^{-1/2} U_k^\top (x - \mu), \qquad \hat\Sigma = U \Lambda U^\top

    with the :math:`k` largest eigenvalues :math:`\Lambda_k` in descending order, and the
    eigenvectors with the signs of :func:`covlayers.functional.eigh`. With ``n_components`` the
    inverse projects the data on the leading subspace, which has the least squared error of all
    linear reconstructions from :math:`k` numbers.

    Fitting, precision and caching are as in :class:`ZCAWhitening`.

    Args:
        num_features: as :class:`ZCAWhitening`.
        n_components: :math:`k`, at most :math:`D`; None for all, in the shape of the input.
        method: ``"auto"`` or a :class:`~covlayers.functional.SpectralMethod`.
        eps, shrinkage, patch_size, device, dtype: as :class:`ZCAWhitening`.

    Attributes:
        mean, covariance, num_samples: as :class:`ZCAWhitening`.

    Shape:
        - Input: as :class:`ZCAWhitening`
        - Output: as the input; with ``n_components`` :math:`(N, k)`, or :math:`(N, k, H/p, W/p)`
          with ``patch_size``. From these ``inverse`` makes :math:`(N, *)` where ``num_features`` is
          a shape (given, or taken from the first data), :math:`(N, D)` where it is a number, and
          :math:`(N, C, H, W)` with ``patch_size``.

    Raises:
        InvalidValueError: as :class:`ZCAWhitening`, and for more components than features.
        InvalidTypeError, UnsupportedError: as :class:`ZCAWhitening`.

    Example:
        >>> images = torch.rand(100, 3, 8, 8)
        >>> whitening = PCAWhitening(n_components=5, patch_size=4).fit(images)
        >>> y = whitening(images)
        >>> y.shape, whitening.inverse(y).shape
        (torch.Size([100, 5, 2, 2]), torch.Size([100, 3, 8, 8]))

    Reference:
        :cite:t:`kessy2018optimal`.
    """

    remedies = f"fewer n_components, {DataWhitening.remedies}"

    def __init__(
        self,
        num_features: int | Sequence[int] | None = None,
        *,
        n_components: int | None = None,
        method: str | Method = "auto",
        **options: Unpack[DataWhiteningOptions],
    ) -> None:
        super().__init__(
            num_features, kind="pca", method=method, n_components=n_components, **options
        )

    def extra_repr(self) -> str:
        """The options and the method."""
        return f"{super().extra_repr()}, n_components={self.n_components}, method={self.method}"


class CholeskyWhitening(DataWhitening):
    r"""Whitening of data in their own order: each feature less what the features before it predict.

    .. math:: y = L^{-1} (x - \mu), \qquad \hat\Sigma = L L^\top

    with :math:`L` lower triangular of positive diagonal. This is the cheapest of the three
    whitenings. It depends on the order of the features.

    Fitting, precision and caching are as in :class:`ZCAWhitening`.

    Args:
        num_features: as :class:`ZCAWhitening`.
        eps, shrinkage, patch_size, device, dtype: as :class:`ZCAWhitening`.

    Attributes:
        mean, covariance, num_samples: as :class:`ZCAWhitening`.

    Shape:
        - Input: as :class:`ZCAWhitening`
        - Output: as the input

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`ZCAWhitening`.

    Example:
        >>> x = torch.randn(1000, 3).cumsum(1)
        >>> y = CholeskyWhitening(3).fit(x)(x)
        >>> torch.allclose(covariance(y.mT), torch.eye(3), atol=1e-4)
        True

    Reference:
        :cite:t:`kessy2018optimal`.
    """

    def __init__(
        self,
        num_features: int | Sequence[int] | None = None,
        **options: Unpack[DataWhiteningOptions],
    ) -> None:
        super().__init__(num_features, kind="cholesky", method="auto", n_components=None, **options)
