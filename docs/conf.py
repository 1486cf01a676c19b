"""Configuration of the documentation: ``make docs`` builds it."""

import os
import sys
from pathlib import Path

from sphinx.application import Sphinx

import covlayers

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

project = "covlayers"
author = "the covlayers authors"
copyright = f"2026, {author}"
release = version = covlayers.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax from an installed package: the pages need no network
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "gallery"]
templates_path = ["_templates"]

# Markdown
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Interface pages, from the docstrings
autosummary_generate = True
autodoc_typehints = "none"  # the Args and Shape blocks say it better
autodoc_preserve_defaults = True  # a class by its name
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False  # as for the arguments
napoleon_custom_sections = ["Shape", "Reference"]
python_use_unqualified_type_names = True
add_module_names = False
autosummary_context = {
    # What a user extends is shown with its methods; of the rest, the call is the interface.
    "abstract": [
        *("Method", "DirectMethod", "NormalisedMethod", "SpectralMethod"),
        *("Backward", "Rule", "GapRule"),
        *("MatrixFunction", "Saved", "LyapunovSolver"),
    ],
    # What a layer offers beside the call, its own or inherited.
    "offered": {
        **dict.fromkeys(
            ("ZCAWhitening", "PCAWhitening", "CholeskyWhitening"), "fit, partial_fit, inverse"
        ),
        "DecorrelatedBatchNorm": "evaluation_matrix",
        "ConditioningMonitor": "metrics, remove",
    },
    # Whose bases have no page.
    "roots": [
        *("Method", "Backward", "MatrixFunction", "Saved", "LyapunovSolver"),
        *("ZCAWhitening", "PCAWhitening", "CholeskyWhitening", "ConditioningMonitor"),
        *("DecorrelatedBatchNorm", "GroupWhitening", "PCANorm", "SwitchableWhitening"),
        *("SVPowerNorm", "SecondOrderHead", "CovAttention", "AttentiveTemporalCovPool"),
        *("TemporalSpatialAttention", "TemporalChannelAttention", "TemporalConv"),
        *("WhiteningColoring", "WhiteningLoss", "ColoringOrthogonalityLoss"),
    ],
}

# Formulas and references
mathjax3_config = {"chtml": {"displayAlign": "left", "displayIndent": "1em"}}
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "label"  # two papers may share authors and year

# Gallery: every script runs, and one that fails ends the build
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib", "rule_figures.dress"),
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}

# Links to the documentation of PyTorch need the network, so they are made on request only.
if os.environ.get("DOCS_INTERSPHINX") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
nitpick_ignore_regex = [("py:.*", r"torch\..*")]  # described on PyTorch's own site

# Appearance
html_theme = "furo"
html_title = f"covlayers {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"


def setup(app: Sphinx) -> None:
    """Draw the figures and write the tables before the pages that show them are read."""
    import atlas_page
    import families_page
    import llms_txt
    import onnx_page
    import performance_page
    import reliability_page
    import rule_figures
    import shared_arguments
    import stability_page
    import support_page

    generated = DOCS / "_static" / "generated"
    rule_figures.draw(generated)
    atlas_page.write(RESULTS, generated / "atlas")
    families_page.write(generated / "families")
    onnx_page.write(generated / "onnx")
    performance_page.write(RESULTS, generated / "performance")
    reliability_page.write(generated / "reliability")
    stability_page.write(generated / "stability")
    support_page.write(generated / "support")
    shared_arguments.connect(app)
    app.connect("build-finished", llms_txt.write)
