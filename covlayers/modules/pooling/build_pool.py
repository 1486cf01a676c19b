"""A pooling layer built from its class, or from any function that makes one."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, Unpack

from torch import nn

from covlayers.functional._base.errors import InvalidTypeError
from covlayers.modules._factory import Factory

PoolFactory: TypeAlias = Callable[..., nn.Module]
"""``(channels, *, device, dtype, **options)`` to a module with ``out_features``."""


def build_pool(
    pool: PoolFactory, channels: int, options: Mapping[str, Any], **factory: Unpack[Factory]
) -> nn.Module:
    r"""Build a module that pools :math:`(N, C, *)` to :math:`(N, F)`.

    Args:
        pool: a class, such as :class:`~covlayers.CovPool`, or a function, called
            as ``pool(channels, device=device, dtype=dtype, **options)``.
        channels: channels :math:`C` that come in.
        options: of ``pool``.
        **factory: device and dtype of its parameters.

    Raises:
        InvalidTypeError: if ``pool`` is not callable, or is a module that is already built; if it
            does not take these arguments; if it gives no module, or one whose ``out_features`` is
            no int.
    """
    if isinstance(pool, nn.Module) or not callable(pool):
        raise InvalidTypeError(
            "pool must be a class or a function that builds a module, "
            f"got {type(pool).__name__}; write pool=CovPool, with its options beside it."
        )
    name = getattr(pool, "__name__", type(pool).__name__)
    try:
        module: Any = pool(channels, **factory, **options)
    except InvalidTypeError:
        raise
    except TypeError as error:
        raise InvalidTypeError(
            f"pool must take the channels, device, dtype and the options {list(options)}, "
            f"got {name}, which says: {error}; correct the options, or take them all in a function "
            "of your own, (channels, **options)."
        ) from error
    out_features = getattr(module, "out_features", None)
    if not (isinstance(module, nn.Module) and isinstance(out_features, int)):
        raise InvalidTypeError(
            "pool must build a torch.nn.Module with an int attribute out_features, "
            f"got {type(module).__name__} from {name} with out_features={out_features!r}; "
            "set out_features to the length of its output vector."
        )
    return module
