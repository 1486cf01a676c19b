"""Where a docstring refers to another for an argument, the page shows what that one says."""

import importlib
import inspect
import re
from types import ModuleType

import pytest

import covlayers as cl
from tests.signatures import parameters
from tests.test_documentation import NAMES, entries

REFERENCE = re.compile(r": as\s+:")
REFERRING = [name for name, obj in NAMES.items() if REFERENCE.search(inspect.getdoc(obj) or "")]
COMPLETE = ("DecorrelatedBatchNorm", "CovPool", "ZCAWhitening", "WhiteningColoring", "sqrtm")


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("shared_arguments")


@pytest.mark.parametrize("name", REFERRING)
def test_every_reference_resolves(page: ModuleType, name: str) -> None:
    text = page.filled(inspect.getdoc(NAMES[name]))
    assert not REFERENCE.search(text)
    if inspect.isclass(NAMES[name]):
        arguments = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
        assert parameters(NAMES[name]).keys() == entries(arguments).keys()


@pytest.mark.parametrize("name", COMPLETE)
def test_those_that_are_referred_to_are_complete(page: ModuleType, name: str) -> None:
    assert name not in REFERRING
    text = inspect.getdoc(NAMES[name])
    assert page.filled(text) == text


def test_an_entry_is_whole_and_keeps_what_it_adds(page: ModuleType) -> None:
    text = page.filled(inspect.getdoc(cl.SwitchableWhitening))
    assert "need fewer samples. The publication takes groups of 16 channels." in text
    text = page.filled(inspect.getdoc(cl.PCAWhitening))
    assert "any :math:`H` and :math:`W` divisible by :math:`p`\n    - Output:" in text


def test_the_signature_names_the_options(page: ModuleType) -> None:
    shown, _ = page.sign(None, "class", "IterNorm", cl.IterNorm)
    assert shown.endswith("*, group_size=None, iterations=5, sync='auto', device=None, dtype=None)")
    assert page.sign(None, "class", "SecondOrderHead", cl.SecondOrderHead) is None
