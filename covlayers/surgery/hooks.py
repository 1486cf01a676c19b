"""Hooks go on from a module to the one in its place."""

from torch import nn

# Of state and its loading a module in another's place has its own.
HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_backward_hooks", "_backward_pre_hooks"),
)


def is_watched(module: nn.Module) -> bool:
    """Whether hooks see what goes through it."""
    return any(vars(module)[name] for name in HOOKS)


def take_hooks(new: nn.Module, old: nn.Module) -> None:
    """Let the hooks of a module watch the one in its place; their handles remove them there."""
    for name in HOOKS:
        vars(new)[name] = vars(old)[name]
    new._is_full_backward_hook = old._is_full_backward_hook
