"""The video example on videos in files: which frames, which splits, and what is missing."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("pytorch_lightning")  # their training

CPU = "--trainer.accelerator=cpu"
CLASSES = ("Archery", "brush_hair")


class FakeDecoder:
    """Reads how many frames there are from the file; each has its number in all pixels."""

    def __init__(self, path: str) -> None:
        self.length = int(Path(path).read_text())

    def __len__(self) -> int:
        return self.length

    def get_frames_at(self, frames: list[int]) -> SimpleNamespace:
        numbers = torch.tensor(frames, dtype=torch.uint8)[:, None, None, None]
        return SimpleNamespace(data=numbers.expand(-1, 3, 48, 64))


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("video")


@pytest.fixture
def decoder(example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (example.videos, example.actions):
        monkeypatch.setattr(module, "video_decoder", lambda: FakeDecoder)


def write(root: Path, names: dict[str, list[str]]) -> Path:
    """Videos of a hundred frames, in folders."""
    for folder, files in names.items():
        (root / folder).mkdir(parents=True)
        for name in files:
            (root / folder / name).write_text("100")
    return root


@pytest.fixture
def ucf101(example: SimpleNamespace, tmp_path: Path, decoder: None) -> object:
    """Twelve groups of two clips of each class, the last two groups for the test."""
    names = {
        c: [f"v_{c}_g{group:02}_c{clip:02}.avi" for group in range(1, 13) for clip in (1, 2)]
        for c in CLASSES
    }
    lists = tmp_path / "lists"
    lists.mkdir()
    for part, chosen, label in (("train", slice(20), " 1"), ("test", slice(20, None), "")):
        lines = [f"{c}/{name}{label}" for c in CLASSES for name in names[c][chosen]]
        (lists / f"{part}list02.txt").write_text("\n".join(lines) + "\n")
    root = write(tmp_path / "videos", names)
    return example.actions.UCF101(
        root=str(root), lists=str(lists), fold=2, num_frames=4, image_size=32
    )


@pytest.fixture
def hmdb51(example: SimpleNamespace, tmp_path: Path, decoder: None) -> object:
    """Twelve films of two clips of each class; tag 1 trains, 2 tests, 0 is left out."""
    names = {
        c: [f"film_{film}_{c}_u_nm_np1_ba_goo_{clip}.avi" for film in range(12) for clip in (0, 1)]
        for c in CLASSES
    }
    lists = tmp_path / "lists"
    lists.mkdir()
    for c in CLASSES:
        lines = [f"{name} {1 if n < 20 else 2 * (n < 23)} " for n, name in enumerate(names[c])]
        (lists / f"{c}_test_split1.txt").write_text("\n".join(lines) + "\n")
    root = write(tmp_path / "videos", names)
    return example.actions.HMDB51(root=str(root), lists=str(lists), num_frames=4, image_size=32)


def test_frames_are_one_of_each_segment(example: SimpleNamespace) -> None:
    sparse_frames = example.videos.sparse_frames
    assert sparse_frames(80, 8, random=False) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert sparse_frames(3, 6, random=False) == [0, 0, 1, 1, 2, 2]
    torch.manual_seed(0)
    draws = torch.tensor([sparse_frames(80, 8, random=True) for _ in range(200)])
    assert torch.equal(draws // 10, torch.arange(8).expand(200, 8))
    assert set(draws[:, 7].tolist()) == set(range(70, 80))


@pytest.mark.parametrize("benchmark", ["ucf101", "hmdb51"])
def test_official_folds_keep_recordings_together(
    request: pytest.FixtureRequest, benchmark: str
) -> None:
    data = request.getfixturevalue(benchmark)
    data.setup("fit")
    assert list(data.class_names) == list(CLASSES)
    files = {name: [Path(p) for p, _ in split.samples] for name, split in data.splits.items()}
    sizes = [len(paths) for paths in files.values()]
    assert sizes == [36, 4, {"ucf101": 8, "hmdb51": 6}[benchmark]]
    assert len(set().union(*files.values())) == sum(sizes)
    recordings = {name: set(map(data.recording, paths)) for name, paths in files.items()}
    assert not recordings["train"] & recordings["val"]
    for split in data.splits.values():
        assert all(Path(path).parent.name == CLASSES[label] for path, label in split.samples)


def test_clips_have_the_size_and_their_frames_are_cropped_alike(ucf101: object) -> None:
    ucf101.setup("fit")
    for split in ("train", "val"):
        clip, label = ucf101.splits[split][0]
        assert clip.shape == (4, 3, 32, 32)
        assert clip.dtype == torch.uint8
        assert label == 0
    middle = ucf101.splits["val"][0][0][:, 0, 0, 0]
    assert middle.tolist() == [12, 37, 62, 87]


def test_kinetics_tests_on_its_validation_videos(
    example: SimpleNamespace, tmp_path: Path, decoder: None
) -> None:
    for part in ("train", "val"):
        write(tmp_path / part, {c: [f"{part}_{n}.mp4" for n in range(3)] for c in CLASSES})
    options = [f"--data.root={tmp_path}", "--data.num_frames=4", "--data.image_size=32"]
    model = ["--model.backbone=resnet18", "--model.in_channels=3", "--model.num_classes=2"]
    small = ["--data.batch_size=2", "--model.num_frames=4", "--model.reduced_channels=8"]
    command = example.main.cli(
        ["fit", CPU, "--data=Kinetics", *options, *model, *small, "--trainer.fast_dev_run=true"]
    )
    assert command.trainer.callback_metrics["train_loss"].isfinite()
    splits = command.datamodule.splits
    assert splits["test"].samples == splits["val"].samples
    assert {Path(path).name.split("_")[0] for path, _ in splits["train"].samples} == {"train"}


@pytest.mark.parametrize("missing", ["torchcodec", "torchcodec.decoders"])
def test_missing_decoder_names_the_extra(
    example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'covlayers\[video\]'"):
        example.actions.UCF101().setup("fit")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Kinetics", {}, r"No folder 'train' in root='absent'.*per class"),
        ("UCF101", {}, r"No folder root='absent'.*per class"),
        ("HMDB51", {"root": "."}, r"No folder lists='absent'.*lists of training and test"),
    ],
)
def test_missing_folder_says_what_it_must_hold(
    example: SimpleNamespace, decoder: None, name: str, options: dict, message: str
) -> None:
    data = getattr(example.actions, name)(**{"root": "absent"} | options)
    if name != "Kinetics":
        data.lists = Path("absent")
    with pytest.raises(FileNotFoundError, match=message):
        data.setup("fit")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [("fold", 4, "1, 2 or 3"), ("num_frames", 0, "positive"), ("image_size", 0, "a positive .*")],
)
def test_wrong_option_is_named(
    example: SimpleNamespace, option: str, value: int, expected: str
) -> None:
    with pytest.raises(ValueError, match=f"{option} must be {expected}, got {value}"):
        example.actions.UCF101(**{option: value})
