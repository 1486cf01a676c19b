"""Every link inside the site, and every relative link of the Markdown files, leads somewhere."""

from functools import cache
from html.parser import HTMLParser
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs import markdown_pages
from tests.docs.built_site import PAGES, SITE, is_built


class Links(HTMLParser):
    """Where the elements of a page lead, and the names by which they are found."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[tuple[int, str]] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.targets.append((self.getpos()[0], value))
            if key == "id" and value:
                self.anchors.add(value)


@cache
def of(page: str) -> Links:
    return Links((SITE / page).read_text())


def resolve(page: str, target: str) -> tuple[str, str] | None:
    """The file and the fragment that a link of this page means; None if it leads elsewhere."""
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return None
    path = normpath(join(dirname(page), unquote(url.path))) if url.path else page
    return path, unquote(url.fragment)


def leads(page: str, target: str) -> bool:
    """Whether the file is there, and on a page of the site the anchor too."""
    if (resolved := resolve(page, target)) is None:
        return True
    path, fragment = resolved
    if fragment and path in PAGES:
        return fragment in of(path).anchors
    return (SITE / path).is_file()


@is_built
@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_site(page: str) -> None:
    dead = [f"line {line}: {to}" for line, to in of(page).targets if not leads(page, to)]
    assert not dead, "\n".join(dead)


@pytest.mark.parametrize("page", [page for page in markdown_pages.PAGES if "docs/" not in page])
def test_links_of_the_repository(page: str) -> None:
    """GitHub resolves these links; the site resolves the links of ``docs/``."""
    for target in markdown_pages.links(page):
        if (resolved := resolve(page, target)) is not None:
            path, fragment = resolved
            assert (markdown_pages.ROOT / path).exists(), target
            assert not fragment or fragment in markdown_pages.anchors(path), target
