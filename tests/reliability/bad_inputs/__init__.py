"""What is refused, and how; what a damaged or an empty batch does to its neighbours and layers."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from inspect import isfunction
from itertools import chain, product

import torch
from torch import nn

import covlayers as cl
from covlayers import functional as F
from tests.built import features
from tests.properties import spd
from tests.reliability.bad_inputs import calls, empty_batches, layers, models, not_finite, styles
from tests.reliability.bad_inputs.refusals import Refusal, names, raised, same_state, state
from tests.reliability.bad_inputs.wrong_values import WRONG, misshapen, wrong_tensors
from tests.reliability.rows import NONE, Row, row

AREA = "bad inputs"
WITHOUT_OPTIONS = "ColoringOrthogonalityLoss"
OF_TORCH = ("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype")


def rows(quick: bool) -> Iterator[Row]:
    """What is wrong is refused, with an error that helps and no state changed; what is damaged is
    lost where it is, and only there.

    The quick form tries all refusals too, and damaged matrices under default rules alone.
    """
    yield row(AREA, "public name with a row below", tried())
    with warnings.catch_warnings():  # of few samples, which is not the subject
        warnings.simplefilter("ignore", UserWarning)
        tensors = chain(calls.of_one_tensor(), calls.of_two_tensors())
        yield refused(
            "wrong type, dtype, rank, shape or device of a function's tensor", tensors, matrices()
        )
        options = chain(calls.of_options(), calls.of_cells())
        yield refused(
            "wrong option of a function, method or rule, or a pair without meaning", options
        )
        yield refused("wrong option of a module", layers.of_options(), options_of_torch())
        inputs = chain(layers.of_inputs(), styles.of_styles(), styles.of_data(), styles.of_losses())
        yield refused(
            "wrong input of a module in training, whose state has to stay",
            inputs,
            inputs_of_torch(),
        )
        yield refused("wrong mask or weight of style transfer", styles.of_regions())
        operations = chain(models.of_arguments(), models.of_models())
        yield refused("wrong argument of an operation on a model, which has to stay", operations)
        yield from damaged(quick)
        nothing = {**dict(empty_batches.of_functions()), **dict(empty_batches.of_modules())}
        yield row(AREA, "empty batch: an empty result and an empty gradient", nothing)


def refused(what: str, tries: Iterable[Refusal], beside: str = NONE) -> Row:
    """Counts the errors that are the library's own and name argument, what came and what to do."""
    judged = {one.name: one.judged() for one in tries}
    outcomes = {f"{name} {owed}".rstrip(): not owed for name, (owed, _) in judged.items()}
    bare = sum(not remedy for _, remedy in judged.values())
    worst = f"{bare} say what was expected, and nothing more" if bare else NONE
    return row(AREA, what, outcomes, worst=worst, beside=beside)


def tried() -> dict[str, bool]:
    """Whether each public function, module and operation is among those above."""
    names = (*calls.GOOD, *layers.BUILT, *models.OPERATIONS, WITHOUT_OPTIONS)
    public = [name for name in F.__all__ if isfunction(getattr(F, name))]
    public += [name for name in cl.__all__ if callable(getattr(cl, name))]
    return {name: name in names for name in public}


def damaged(quick: bool) -> Iterator[Row]:
    """NaN and infinities."""
    changes: list[float] = []
    matrices = dict(not_finite.of_matrices(quick, changes))
    what = "NaN or infinity in a matrix: NaN for it alone"
    yield row(
        AREA,
        what,
        matrices,
        worst=f"{max(changes):.0e} of a neighbour's gradient",
        beside=eigh_of_torch(),
    )
    features = dict(not_finite.of_features())
    yield row(AREA, "NaN or infinity in features: lost for the sample alone", features)
    samples = dict(not_finite.in_evaluation())
    yield row(AREA, "NaN or infinity in evaluation of a module: lost for the sample alone", samples)
    kept = dict(not_finite.with_averages())
    torch_kept = dict(not_finite.with_averages({"BatchNorm2d": partial(nn.BatchNorm2d, 6)}))
    beside = f"nn.BatchNorm2d: {sum(torch_kept.values())} of {len(torch_kept)}"
    yield row(
        AREA,
        "NaN or infinity in training of a layer: its running averages stay",
        kept,
        beside=beside,
    )


def naming(function: str, calls: Iterable[tuple[str, Callable[[], object]]]) -> str:
    """How often torch refuses as well, and how often the error, of any type, names the argument."""
    errors = [(argument, raised(call)) for argument, call in calls]
    refusals = [(argument, str(error)) for argument, error in errors if error is not None]
    named = sum(names(message, argument) for argument, message in refusals)
    return f"{function}: {len(refusals)} of {len(errors)}, {named} name the argument"


def matrices() -> str:
    """The eigendecomposition and the covariance of torch with the tensors that ours refuse."""
    A, x = spd(2, n=3), calls.X[0]
    skewed = ("asymmetric", A + torch.ones(3, 3).triu(1), ())
    of_eigh = (*wrong_tensors(A, 2), *misshapen(A[..., :2], A[:, :1]), skewed)
    of_cov = (*wrong_tensors(x, 1), *misshapen(x[:, :1], x[:, :0]))
    eigh = (("A", partial(torch.linalg.eigh, value)) for _, value, _ in of_eigh)
    cov = (("input", partial(torch.cov, value)) for _, value, _ in of_cov)
    return f"{naming('torch.linalg.eigh', eigh)}; {naming('torch.cov', cov)}"


def options_of_torch() -> str:
    """Those that nn.BatchNorm2d shares with ours, at the same values."""
    calls = (
        (name, partial(nn.BatchNorm2d, **{"num_features": 6, name: value}))
        for name in OF_TORCH
        for value in WRONG[name]
        if value is not None or name not in ("momentum", "device", "dtype")
    )
    return naming("nn.BatchNorm2d", calls)


def inputs_of_torch() -> str:
    """The inputs that a layer in its place refuses, and how often one changes nn.BatchNorm2d."""
    x, norm = features(), nn.BatchNorm2d(6)
    others = misshapen(x[:, :0], x[:, :4], torch.cat([x, x[:, :1]], 1), x[:1, :, :1, :1])
    calls = [("input", partial(norm, value)) for _, value, _ in (*wrong_tensors(x, 2), *others)]
    changed = 0
    for _, call in calls:
        before = state(norm)
        raised(call)
        changed += not same_state(before, state(norm))
    return f"{naming('nn.BatchNorm2d', calls)}, {changed} change its state"


def eigh_of_torch() -> str:
    """Whether an eigendecomposition keeps the neighbours, in place of an error for them all."""
    A = spd(3)
    before = torch.linalg.eigh(A)[0]
    kept = 0
    cases = [*product(not_finite.DAMAGES, ((0, 0), (2, 1)))]
    for value, place in cases:
        try:
            after = torch.linalg.eigh(not_finite.damaged(A, value, place))[0]
        except torch.linalg.LinAlgError:
            continue
        kept += torch.equal(after[[0, 2]], before[[0, 2]]) and bool(after[1].isnan().all())
    return f"torch.linalg.eigh: {kept} of {len(cases)}"
