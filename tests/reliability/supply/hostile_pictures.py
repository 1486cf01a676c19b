"""Files that are no pictures, or have too many pixels, in the place of a user's pictures."""

import importlib
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from tests.forked import CONTEXT
from tests.reliability.interrupted_training.forked import enter

SIDE = 9460  # the square is the first above the limit of Pillow's warning


def png(side: int, rows: bytes) -> bytes:
    """A square of one bit a pixel, with these bytes for its rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def noise(side: int) -> bytes:
    """Rows at random, each after a zero that says that it stands for itself."""
    chance = Random(0)
    return b"".join(b"\0" + chance.randbytes(side // 8) for _ in range(side))


FILES: dict[str, Callable[[], bytes]] = {
    "too many pixels": lambda: png(SIDE, bytes(SIDE * (1 + -(-SIDE // 8)))),
    "a header of 10^11 pixels": lambda: png(400_000, b""),
    "half a picture": lambda: png(64, noise(64))[:300],
    "a text": lambda: b"a text, not a picture",
    "nothing": bytes,
}


def folder_per_class(root: Path, content: bytes, *parts: str) -> None:
    """Two classes of ten files in each part."""
    for part in parts:
        for name in "ab":
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(10):
                (folder / f"{number}.png").write_bytes(content)


def image_folder(root: Path, content: bytes) -> Any:
    folder_per_class(root, content, "train", "val")
    return importlib.import_module("common.image_data").ImageFolder(root=str(root))


def train_test_folders(root: Path, content: bytes) -> Any:
    folder_per_class(root, content, "train", "test")
    return importlib.import_module("photographs").TrainTestFolders(root=str(root))


def dtd(root: Path, content: bytes) -> Any:
    data = root / "dtd" / "dtd"
    (data / "labels").mkdir(parents=True)
    folder_per_class(data, content, "images")
    for split in ("train", "val", "test"):
        (data / "labels" / f"{split}1.txt").write_text("a/0.png\nb/1.png\n")
    return importlib.import_module("photographs").DTD(root=str(root))


def fgvc_aircraft(root: Path, content: bytes) -> Any:
    data = root / "fgvc-aircraft-2013b" / "data"
    (data / "images").mkdir(parents=True)
    (data / "images" / "0.jpg").write_bytes(content)
    (data / "variants.txt").write_text("a\n")
    for split in ("train", "val", "test"):
        (data / f"images_variant_{split}.txt").write_text("0 a\n")
    return importlib.import_module("photographs").FGVCAircraft(root=str(root))


def style_folders(root: Path, content: bytes) -> Any:
    folder_per_class(root, content, "contents", "styles")
    folders = importlib.import_module("folders").Folders
    return folders(str(root / "contents"), str(root / "styles"), held_out=2)


DATA: dict[str, tuple[str, Callable[[Path, bytes], Any]]] = {
    "ImageFolder": ("image_classification", image_folder),
    "TrainTestFolders": ("fine_grained", train_test_folders),
    "DTD": ("fine_grained", dtd),
    "FGVCAircraft": ("fine_grained", fgvc_aircraft),
    "Folders": ("style_transfer", style_folders),
}
"""Where pictures of a user come in: the example, and what builds the data."""


def refused(name: str, contents: Mapping[str, bytes], root: Path) -> dict[str, bool]:
    """For each file, whether its reader raises a PictureError that begins with its path."""
    example, build = DATA[name]
    enter(example)
    outcomes = {}
    for file, content in contents.items():
        data = build(root / file, content)
        data.setup("fit")
        said = ""
        try:
            data.splits["train"][0]
        except Exception as error:  # of another kind: not what is promised either
            said = f"{type(error).__name__}: {error}"
        outcomes[f"{name}, {file}"] = said.startswith(f"PictureError: {root / file}")
    return outcomes


def outcomes() -> tuple[dict[str, bool], str]:
    """Every file through all data, each in a process of its own; and what Pillow alone does."""
    contents = {file: make() for file, make in FILES.items()}
    with (
        TemporaryDirectory() as folder,
        ProcessPoolExecutor(2, CONTEXT, max_tasks_per_child=1) as pool,
    ):
        every = [pool.submit(refused, name, contents, Path(folder, name)) for name in DATA]
        held = {what: holds for one in every for what, holds in one.result().items()}
    taken = sum(map(taken_by_pillow, contents.values()))
    return held, f"Pillow alone reads {taken} of {len(contents)} such files"


def taken_by_pillow(content: bytes) -> bool:
    """Whether Pillow reads it; it may warn."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(content)) as image:
            image.load()
    except (OSError, Image.DecompressionBombError):
        return False
    return True
