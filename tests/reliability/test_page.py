"""The page on reliability is of a full run in which everything held, and of what is tested."""

import json

from tests.reliability.__main__ import FILE, main, row

PAGE = json.loads(FILE.read_text())


def test_the_file_has_what_is_tested_and_no_more() -> None:
    assert main(["--check"]) == 0


def test_it_is_of_a_full_run_in_which_everything_held() -> None:
    assert PAGE["metadata"]["command"] == "python -m tests.reliability"
    assert [row["what"] for row in PAGE["rows"] if row["held"] != row["tried"]] == []


def test_a_row_counts_all_tests_of_its_line() -> None:
    counts = [
        {"tried": 3, "held": 2, "worst": (0.5, "{} of ε"), "beside": "torch: 1"},
        {"tried": 1, "held": 1, "worst": None, "beside": "–"},
        {"tried": 2, "held": 2, "worst": [2.0, "{} of ε"], "beside": "torch: 1"},
    ]
    assert row("precision", "a line", counts) == {
        "area": "precision",
        "what": "a line",
        "tried": 6,
        "held": 5,
        "worst": "2 of ε",
        "beside": "torch: 1",
    }
