"""The Markdown that people read: of the repository, of the documentation, of the examples."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
GENERATED = {"_build", "_static", "auto_gallery", "generated"}
PAGES = sorted(
    str(page)
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for page in (path.relative_to(ROOT) for path in ROOT.glob(pattern))
    if not GENERATED & set(page.parts)
)
NOT_RUN = re.compile(r"<!-- not run: \S.* -->\s*")


@dataclass(frozen=True)
class Block:
    """The text of a fenced block, the number of its first line, and whether it is to be run."""

    text: str
    line: int
    runs: bool


@cache
def tokens(page: str) -> list[Token]:
    return MarkdownIt().enable("table").parse((ROOT / page).read_text())


def blocks(page: str, language: str) -> list[Block]:
    """The blocks in one language; a comment ``<!-- not run: reason -->`` before one excuses it."""
    return [
        Block(token.content, token.map[0] + 2, not NOT_RUN.fullmatch(before.content))
        for before, token in pairwise([Token("", "", 0), *tokens(page)])
        if token.type == "fence" and token.info.strip() == language
    ]


def links(page: str) -> Iterator[str]:
    """Where its links lead, and the sources of its images."""
    for token in tokens(page):
        for part in token.children or ():
            if target := part.attrGet("href") or part.attrGet("src"):
                yield str(target)


def anchors(page: str) -> set[str]:
    """The fragments under which its headings are found."""
    headings = (
        text.content for opening, text in pairwise(tokens(page)) if opening.type == "heading_open"
    )
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
