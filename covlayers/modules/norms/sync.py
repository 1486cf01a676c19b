"""Over which processes a layer takes its statistics."""

from typing import Any, TypeAlias

import torch.distributed as dist

from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError, UnsupportedError

Sync: TypeAlias = Any
"""``"auto"``, a bool, or a ``torch.distributed.ProcessGroup``, a class some builds do not have."""


def is_group(sync: Sync) -> bool:
    """Whether it is a process group."""
    return dist.is_available() and isinstance(sync, dist.ProcessGroup)


def check_sync(sync: Sync) -> None:
    """``"auto"``, True, False or a process group."""
    expected = "sync must be 'auto', True, False or a torch.distributed.ProcessGroup"
    if isinstance(sync, str) and sync != "auto":
        raise InvalidValueError(f"{expected}, got {sync!r}.")
    if not (isinstance(sync, str | bool) or is_group(sync)):
        raise InvalidTypeError(f"{expected}, got {type(sync).__name__}.")


def process_group(sync: Sync) -> Any:
    """The process group to sum over, None for this process alone."""
    if is_group(sync):
        return sync
    ready = dist.is_available() and dist.is_initialized()
    if sync is True and not ready:
        raise UnsupportedError(
            "sync=True needs a process group, and torch.distributed is not initialised; call "
            "torch.distributed.init_process_group first, or build the layer with sync='auto'."
        )
    return dist.group.WORLD if sync and ready and dist.get_world_size() > 1 else None
