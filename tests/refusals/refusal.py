"""A call that has to be refused, and whether the error says what it has to say."""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from covlayers import functional as F
from tests.counted import Counted

OURS = (F.InvalidValueError, F.InvalidTypeError, F.UnsupportedError)
REMEDY = re.compile(r"; \w|\. [A-Z]")
"""A clause or a sentence of its own."""
CONDITION = re.compile(
    r"must (be (at (least|most)|one (or more )?of|an int|a real number|True or|a torch|'auto'|None"
    r"|real numbers|finite|a number for|a tensor or|torch\.float|a tuple)"
    r"|lie in|divide|have (shape|at least|the|a |[a-z_]+=[\d(])|cover|sum|name)"
)
"""An expectation so definite that it says what to pass."""


@dataclass(frozen=True)
class Refusal:
    """A call with one thing wrong.

    Attributes:
        name: of the try, its own.
        call: which must raise.
        argument: that is wrong, as the caller writes it.
        came: what was passed, in words of which the error has to use one.
        whole: whose parameters and buffers must stay bit for bit as they were.
    """

    name: str
    call: Callable[[], object]
    argument: str
    came: tuple[str, ...]
    whole: nn.Module | None = None

    def judged(self) -> tuple[str, bool]:
        """What the library owes and did not do, if anything; whether the error adds a remedy."""
        before = state(self.whole)
        error = raised(self.call)
        if error is None:
            return "raises nothing", False
        said = f"{type(error).__name__}: {error}"
        if not same_state(before, state(self.whole)):
            return f"leaves another state after {said}", False
        if not isinstance(error, OURS):
            return f"raises {said}", False
        missing = unsaid(str(error), self.argument, self.came)
        owed = f"does not say {missing}: {said}" if missing else ""
        return owed, bool(REMEDY.search(str(error)))


def count(tries: Iterable[Refusal], counted: Counted) -> None:
    """Judges each; says how many errors have what was expected, and no advice."""
    bare = 0
    with warnings.catch_warnings():  # of few samples, which is not the subject
        warnings.simplefilter("ignore", UserWarning)
        for one in tries:
            owed, remedy = one.judged()
            bare += not remedy
            counted.case(one.name, held=not owed, problem=owed)
    counted.figure(bare, "{} say what was expected, and nothing more")


def naming(function: str, calls: Iterable[tuple[str, Callable[[], object]]]) -> str:
    """How often torch refuses as well, and how often the error, of any type, names the argument."""
    errors = [(argument, raised(call)) for argument, call in calls]
    refusals = [(argument, str(error)) for argument, error in errors if error is not None]
    named = sum(names(message, argument) for argument, message in refusals)
    return f"{function}: {len(refusals)} of {len(errors)}, {named} name the argument"


def raised(call: Callable[[], object]) -> Exception | None:
    """The error of a call."""
    try:
        call()
    except Exception as error:  # whatever it is, it is judged by what it says
        return error
    return None


def unsaid(message: str, argument: str, came: Iterable[str]) -> str:
    """Which part of a message is missing: the argument, what came, what to do."""
    if not names(message, argument):
        return f"the argument, {argument}"
    words = "|".join(re.escape(word) for word in came)
    if not re.search(rf"(?<!\w)({words})(?!\w)", after(message)):
        return f"what came, {words}"
    if not (CONDITION.search(message) or REMEDY.search(message)):
        return "what to do"
    return ""


def names(message: str, argument: str) -> bool:
    """Whether it has the argument as a word."""
    return bool(re.search(rf"(?<!\w){re.escape(argument)}(?!\w)", message))


def after(message: str) -> str:
    """What follows the expectation; all of a message without one."""
    _, got, rest = message.partition("got ")
    return rest if got else message


def state(module: nn.Module | None) -> dict[str, Tensor]:
    """Copies of all parameters, gradients and buffers."""
    if module is None:
        return {}
    parameters = dict(module.named_parameters())
    gradients = {f"{k}.grad": p.grad for k, p in parameters.items() if p.grad is not None}
    held = parameters | gradients | dict(module.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in held.items()}


def same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """The same names, and the same numbers."""
    return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)


def identical(a: Tensor, b: Tensor) -> bool:
    """Whether both have one dtype and shape and the same numbers; NaN equals NaN."""
    alike = a.dtype == b.dtype and a.shape == b.shape
    return alike and bool(((a == b) | (a != a) & (b != b)).all())
