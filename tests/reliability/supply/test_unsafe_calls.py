"""The reader of sources sees what it is there for, and nothing else."""

from pathlib import Path

import pytest

from tests.reliability.supply.unsafe_calls import unsafe

UNSAFE = (
    "import pickle",
    "import joblib as j",
    "from pickle import UnpicklingError, loads",
    "from torch import load",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "Module.load_from_checkpoint(path)",
    "weights.get_state_dict(progress=False)",
    "np.load(path, allow_pickle=True)",
    "yaml.load(file)",
    "eval(text)",
    "subprocess.run(line, shell=True)",
    "subprocess.check_output(line, shell=True)",
    "Image.open(path)",
    "PIL.Image.open(path)",
    "torchvision.datasets.ImageFolder(root)",
)
SAFE = (
    "from pickle import UnpicklingError",
    "torch.load(path, weights_only=True)",
    "from yaml import safe_load",
    "np.load(path)",
    "yaml.safe_load(file)",
    "model.eval()",
    "call(**options)",
    "from torchvision.datasets import ImageFolder",
    "ImageFolder(root, loader=load_rgb)",
)


@pytest.mark.parametrize("line", UNSAFE + SAFE)
def test_what_is_unsafe_is_found(tmp_path: Path, line: str) -> None:
    path = tmp_path / "source.py"
    path.write_text(f"\n{line}\n")
    found = list(unsafe(path))
    assert bool(found) == (line in UNSAFE)
    assert all(what.startswith("line 2: ") for what in found)
