"""Cases that a test goes through: all are tried, and those that do not hold are told."""

import pytest

from tests.counted import Counted


@pytest.fixture
def record() -> dict[str, object]:
    return {}


@pytest.fixture
def cases(record: dict[str, object]) -> Counted:
    return Counted(record.__setitem__)


def test_all_are_tried_and_the_wrong_ones_told(cases: Counted, record: dict[str, object]) -> None:
    for x in range(4):
        with cases("x", x):
            assert x % 2 == 0
    cases.within("y", error=0.5, bound=1, of="ε")
    cases.within("z", error=float("nan"), bound=1, of="ε")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)3 of 6.*x, 1: .*x, 3: .*z: nan of ε"):
        cases.finish()
    assert record["counted"] == {
        "tried": 6,
        "held": 3,
        "worst": (float("inf"), "{} of ε"),
        "beside": "–",
    }


def test_what_holds_passes(cases: Counted) -> None:
    cases.cases({"a": True, "b": True})
    cases.finish()


def test_nothing_tried_is_a_failure(cases: Counted) -> None:
    with pytest.raises(pytest.fail.Exception, match="no case"):
        cases.finish()


def test_two_cases_of_one_name_are_a_mistake(cases: Counted) -> None:
    cases.case("a", held=True)
    with pytest.raises(ValueError, match="two cases"):
        cases.case("a", held=True)
