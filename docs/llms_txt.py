"""Write ``llms.txt``, the contents of the site as plain Markdown: https://llmstxt.org."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urljoin

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def write(app: Sphinx, exception: Exception | None) -> None:
    """List the pages in the order of the sidebar, once the site is built."""
    if exception is not None or app.builder.format != "html":
        return
    root = app.env.get_doctree(app.config.root_doc)
    parts = [f"# {app.config.project}", f"> {opening(root)}"]
    for toctree in root.findall(addnodes.toctree):
        lines = [line for page in toctree["includefiles"] for line in listed(app, page)]
        parts += [f"## {toctree['caption']}", "\n".join(lines)]
    (Path(app.outdir) / "llms.txt").write_text("\n\n".join(parts) + "\n")


def listed(app: Sphinx, page: str) -> Iterator[str]:
    """A line for the page, for each constant that it documents and for each page below it."""
    doctree = app.env.get_doctree(page)
    uri = urljoin(app.config.html_baseurl, app.builder.get_target_uri(page))
    yield link(app.env.titles[page].astext(), uri, doctree)
    for entry in doctree.findall(addnodes.desc):
        if entry["objtype"] == "data":
            signature = entry[0]
            yield link(signature["fullname"], f"{uri}#{signature['ids'][0]}", entry)
    for below in app.env.toctree_includes.get(page, []):
        yield from listed(app, below)


def link(title: str, uri: str, described: nodes.Element) -> str:
    """With the first sentence of what it leads to."""
    sentence = opening(described).partition(". ")[0].rstrip(".:")
    return f"- [{title}]({uri})" + (f": {sentence}" if sentence else "")


def opening(described: nodes.Element) -> str:
    """The first paragraph below the title of a page, or of the docstring of an object."""
    for kind in (nodes.section, addnodes.desc_content):
        for top in islice(described.findall(kind), 1):
            for node in top.children:
                if isinstance(node, nodes.paragraph) and not node.astext().startswith("Bases:"):
                    return " ".join(node.astext().split())
    return ""
