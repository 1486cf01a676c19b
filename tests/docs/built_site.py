"""The documentation as ``make docs`` built it."""

from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
PAGES = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
is_built = pytest.mark.skipif(not PAGES, reason="the site is not built: make docs")
