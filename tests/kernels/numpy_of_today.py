"""Triton's interpreter with a NumPy that is newer than it."""

from typing import Any

from triton.runtime import interpreter


def patch_interpreter() -> None:
    """Loop bounds become integers: NumPy 2.4 converts no array of one entry, as Triton 3.6 asks."""
    before = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        before(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patched
