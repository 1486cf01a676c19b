"""What the new head of a model is to be, and the reason why a model cannot have it."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from covlayers.functional._base.errors import InvalidValueError
from covlayers.modules.pooling.build_pool import PoolFactory, build_pool
from covlayers.modules.pooling.second_order_head import SecondOrderHead


class Unfit(Exception):  # noqa: N818  it is caught, and another recipe tried
    """A model that a recipe does not fit; its text continues "model must "."""


class NewHead(NamedTuple):
    """The pooling and the classifier to build."""

    pool: PoolFactory
    num_classes: int
    options: dict[str, Any]

    def of_maps(self, channels: int, like: Tensor) -> tuple[nn.Module, nn.Linear]:
        """The pooling and the classifier, on the device and in the dtype of ``like``."""
        if "fusion" in self.options:
            raise InvalidValueError(
                f"fusion must not be given where there is no class token to fuse, got "
                f"{self.options['fusion']!r} for a model without; leave it out."
            )
        place: Any = {"device": like.device, "dtype": like.dtype}
        pool = build_pool(self.pool, channels, self.options, **place)
        features: Any = pool.out_features
        return pool, nn.Linear(features, self.num_classes, **place)

    def of_tokens(self, embed_dim: int, like: Tensor) -> SecondOrderHead:
        """The head of tokens with a class token, on the device and in the dtype of ``like``."""
        place: Any = {"device": like.device, "dtype": like.dtype}
        return SecondOrderHead(embed_dim, self.num_classes, pool=self.pool, **self.options, **place)
