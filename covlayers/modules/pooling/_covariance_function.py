"""The function that a covariance pooling takes of its covariance."""

from torch import nn

from covlayers.functional._base.checks import check_choice
from covlayers.functional._base.errors import InvalidValueError, UnsupportedError
from covlayers.functional.by_positions import Cell
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.covariance_functions import (
    SIDES,
    Menu,
    cell_of_few_positions,
    chosen_function,
)
from covlayers.functional.functions import LOG, SQRT
from covlayers.functional.matrix_functions import check_cell
from covlayers.functional.methods import Auto
from covlayers.functional.rule import Backward

FUNCTIONS: Menu = {"sqrt": lambda: SQRT, "log": lambda: LOG}


def choose_function(
    function: str | float | MatrixFunction | nn.Module, method: Method, backward: Backward | None
) -> MatrixFunction | nn.Module:
    """The function that a name or an exponent stands for, or the object itself.

    Raises:
        InvalidValueError: for an unknown name, or for a method or rule beside a module.
        InvalidTypeError: for what is neither.
        UnsupportedError: if function, method and rule do not fit.
    """
    if isinstance(function, nn.Module):
        if (method, backward) != (Auto(), None):
            raise InvalidValueError(
                "method and backward must be left at their defaults with a module as function, "
                f"got {method} and {backward}; the module computes and differentiates by itself."
            )
        return function
    chosen = chosen_function(function, FUNCTIONS)
    check_cell((chosen,), method, backward)
    return chosen


def choose_cell(
    function: MatrixFunction | nn.Module,
    method: Method,
    backward: Backward | None,
    side: str,
    alone: bool,
) -> Cell | None:
    """The cell for few positions, None for a module; ``alone`` without the mean in the matrix.

    Raises:
        InvalidValueError: for an unknown side.
        UnsupportedError: for the side of the positions where it has no meaning.
    """
    check_choice("side", side, SIDES)
    if side == "positions" and not (alone and isinstance(function, MatrixFunction)):
        raise UnsupportedError(
            "side='positions' takes a matrix function of the covariance alone, got "
            f"{'a module' if alone else 'mean_weight'}; take side='channels' beside it."
        )
    if not (alone and isinstance(function, MatrixFunction)):
        return None
    return cell_of_few_positions(function, method, backward, side)
