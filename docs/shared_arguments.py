"""Arguments that classes share are described by one of them, and shown in full on every page.

``eps, device: as :class:`Other`.`` becomes what ``Other`` says of ``eps`` and of ``device``. The
signature names the options that the source names in a TypedDict.
"""

import inspect
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import covlayers
from tests.signatures import parameters

if TYPE_CHECKING:  # the tests fill docstrings where there is no Sphinx
    from sphinx.application import Sphinx

HEADING = re.compile(r"^(\w+):\n", re.MULTILINE)
ENTRY = re.compile(r"^    ((?:- |\*\*)?\w+(?:, \w+)*): (.*(?:\n {6}.*)*)", re.MULTILINE)
AS = re.compile(r"as\s+:(?:class|func):`(\w+)`(.*)", re.DOTALL)


def connect(app: "Sphinx") -> None:
    """Fill docstrings before napoleon reads them."""
    app.connect("autodoc-process-docstring", fill, priority=400)
    app.connect("autodoc-process-signature", sign)


def fill(app: "Sphinx", what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Complete a docstring in place."""
    lines[:] = filled("\n".join(lines)).split("\n")


def sign(app: "Sphinx", what: str, name: str, obj: Any, *_: Any) -> tuple[str, None] | None:
    """The signature of a class, if it has options that its source names elsewhere."""
    if what != "class" or parameters(obj).keys() == inspect.signature(obj).parameters.keys():
        return None
    shown = (p.replace(annotation=p.empty) for p in parameters(obj).values())
    return str(inspect.Signature(list(shown))).replace("e-0", "e-"), None  # 1e-5, as in the source


def filled(docstring: str) -> str:
    """The docstring, with what others say in place of each reference to them."""
    sections = _sections(docstring)
    return sections.pop("") + "".join(
        f"{heading}:\n" + ENTRY.sub(partial(_complete, heading), body)
        for heading, body in sections.items()
    )


def _sections(docstring: str) -> dict[str, str]:
    """What is below each heading; what is above the first, under the empty name."""
    above, *rest = HEADING.split(docstring)
    return {"": above, **dict(zip(rest[::2], rest[1::2], strict=True))}


def _complete(heading: str, entry: re.Match[str]) -> str:
    names, text = entry.groups()
    found = AS.match(text)
    if found is None:
        return entry[0]
    owner, added = found.groups()
    said = {name: _said(owner, heading, name) for name in names.split(", ")}
    return "\n".join(f"    {name}: {text.removesuffix('.')}{added}" for name, text in said.items())


def _said(owner: str, heading: str, name: str) -> str:
    """What the docstring of a public class or function says of a name below a heading."""
    described = getattr(covlayers, owner, None) or getattr(covlayers.functional, owner)
    said = _sections(filled(inspect.getdoc(described) or ""))[heading]
    return dict(ENTRY.findall(said))[name]
