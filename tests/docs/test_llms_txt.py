"""``llms.txt`` has every page and every public name, and leads to pages that are there."""

import re

import pytest

import covlayers
from covlayers import functional
from tests.docs.built_site import PAGES, SITE, is_built

pytestmark = is_built


@pytest.fixture(scope="module")
def text() -> str:
    return (SITE / "llms.txt").read_text()


def test_it_has_a_title_a_summary_and_lists(text: str) -> None:
    title, summary, *parts = text.strip().split("\n\n")
    assert title == "# covlayers"
    assert re.fullmatch("> .{100,400}", summary)
    for heading, links in zip(parts[::2], parts[1::2], strict=True):
        assert heading.startswith("## ")
        assert all(re.fullmatch(r"- \[.+\]\(\S+\)(: .+)?", line) for line in links.splitlines())


def test_it_lists_the_pages_that_are_there(text: str) -> None:
    listed = {target.split("#")[0] for target in re.findall(r"\]\((\S+)\)", text)}
    without = {"index.html", "genindex.html", "py-modindex.html", "search.html"}
    assert listed == set(PAGES) - without


@pytest.mark.parametrize("module", [covlayers, functional])
def test_it_says_what_every_public_name_is(module, text: str) -> None:
    for name in module.__all__:
        if name not in ("__version__", "functional"):
            line = rf"^- \[{name}\]\(.*{module.__name__}\.{name}\b.*\): .+"
            assert re.search(line, text, re.MULTILINE), name
