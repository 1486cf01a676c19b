"""Everything that operations on whole models refuse: the error names it, and the model stays."""

from itertools import chain

import pytest

from tests.counted import Counted
from tests.refusals import models
from tests.refusals.refusal import count


@pytest.mark.promise("bad inputs", "wrong argument of an operation on a model, which has to stay")
def test_arguments_and_models(counted: Counted) -> None:
    count(chain(models.of_arguments(), models.of_models()), counted)
