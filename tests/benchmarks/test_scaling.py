"""How cost grows: the exponents, the threads and what goes between processes."""

from types import SimpleNamespace

import pytest
import torch

from covlayers.functional._batch import collective, normalise


def test_exponents_are_slopes(script) -> None:
    exponent = script("scaling").exponent
    assert exponent((1, 2, 4, 8), (9.0, 4.0, 32.0, 256.0)) == pytest.approx(3)
    assert exponent((1, 2, 4), (0, 0, 0)) is None


def test_every_subject_has_a_curve(measured) -> None:
    sizes = {"n": (4, 8, 16), "batch": (1, 2, 4), "positions": (8, 16, 32)}
    rows = measured("scaling", SIZES=sizes, FIXED={"n": 4, "batch": 2, "positions": 32})["rows"]
    along = {(row["what"], row["along"]) for row in rows}
    assert len(along) == len(rows) == 15
    assert {"sqrtm", "invsqrtm polar_express", "DecorrelatedBatchNorm"} < {w for w, _ in along}
    for row in rows:
        assert len(row["time_ms"]) == len(row["peak_bytes"]) == len(row["sizes"]) == 3


def test_threads_are_split_and_joined(script, measured) -> None:
    rows = measured("thread_split", BATCHES={4: 6, 8: 5})["rows"]
    assert [(row["n"], row["batch"]) for row in rows] == [(4, 6), (8, 5)]
    A = torch.eye(3).expand(5, 3, 3)
    values, vectors = script("thread_split").split(SimpleNamespace(map=map), A)
    assert values.shape == (5, 3)
    assert vectors.shape == (5, 3, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_groups", [1, 2, 6])
def test_the_bytes_between_processes_are_those_of_the_collective(
    script, monkeypatch: pytest.MonkeyPatch, num_groups: int, dtype: torch.dtype
) -> None:
    sent = []

    def count(x: torch.Tensor, group: str | None) -> torch.Tensor:
        sent.append(x.nbytes)
        return x

    for module in (collective, normalise):
        monkeypatch.setattr(module, "all_sum", count)
    x = torch.randn(5, 6, 7, dtype=dtype, requires_grad=True)
    weight = torch.ones(6, dtype=dtype, requires_grad=True)
    way = normalise.Way(lambda cov: cov, 0.0, None)
    y, *_ = normalise.batch_transform(x, weight, weight, way, num_groups, "all")
    y.sum().backward()
    bytes_all_reduced = script("data_parallel").bytes_all_reduced
    assert len(sent) == 2
    assert sum(sent) == bytes_all_reduced(6, num_groups, dtype.itemsize)


@pytest.mark.full
def test_one_process_and_two_train_the_same_network(measured) -> None:
    rows = measured("data_parallel", "--quick", LAYERS=((4, 2),), SHAPE=(4, 3, 8, 8))["rows"]
    sent = {(row["processes"], row["layer"]): row["bytes_all_reduced"] for row in rows}
    whitening = "DecorrelatedBatchNorm"
    assert sent == {(1, "none"): 0, (2, "none"): 0, (1, whitening): 0, (2, whitening): 152}
    assert all(row["time_ms"] > 0 for row in rows)
