"""Pictures in files, as tensors :math:`(3, H, W)` in [0, 1] and back."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from common.files import whole
from common.picture_files import PictureError, opened

MOST_PIXELS = 2**25
"""A larger picture is refused before any of its pixels are read."""

FORMATS: dict[str, dict[str, Any]] = {
    ".bmp": {"format": "BMP"},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".png": {"format": "PNG"},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
    ".webp": {"format": "WEBP", "quality": 95},
}
"""How a picture is written, by the suffix of its file; PNG, TIFF and BMP keep every byte."""

DEEP = ("I;16", "I;16B", "I;16L")
"""Pillow's names of grey levels in sixteen bits."""


def to_bytes(picture: Tensor) -> Tensor:
    """Values in [0, 1] as bytes, rounded; what is outside is clipped."""
    return (picture * 255).round().clamp(0, 255).byte()


def to_array(picture: Tensor) -> np.ndarray:
    """A picture :math:`(3, H, W)` as bytes :math:`(H, W, 3)`."""
    return to_bytes(picture).permute(1, 2, 0).contiguous().numpy()


def from_bytes(array: np.ndarray) -> Tensor:
    """Bytes :math:`(H, W, 3)` as a picture :math:`(3, H, W)` in [0, 1]."""
    return torch.from_numpy(array.copy()).permute(2, 0, 1).contiguous().float() / 255


def decode(image: Image.Image, path: Path) -> Tensor:
    """The pixels of an open image."""
    if image.mode in ("I", "F"):
        raise PictureError(f"{path} has 32 bits a pixel; save it with 8 or 16.")
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        levels = torch.from_numpy(np.asarray(image).astype(np.float32)) / 65535
        return levels.expand(3, -1, -1).contiguous()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return from_bytes(np.asarray(image.convert("RGB")))


def read(path: str | Path, most_pixels: int = MOST_PIXELS) -> Tensor:
    """Read a picture, :math:`(3, H, W)` in [0, 1].

    It is turned as its EXIF tag says. Grey becomes three equal channels; what is transparent lies
    on white; of several frames the first counts.

    Args:
        path: a file of any format that Pillow reads.
        most_pixels: a larger picture is refused.

    Raises:
        OSError: if there is no such file, or it may not be read.
        PictureError: if it is empty, no image, truncated, too large, or has 32 bits a pixel.
    """
    with opened(path, most_pixels) as image:
        return decode(image, Path(path))


def writable(path: str | Path) -> Path:
    """The path of a picture that can be written, as far as one can tell before.

    Raises:
        OSError: if its folder is not there or takes no file, or if it is a folder itself.
        PictureError: if its suffix is none of ``FORMATS``.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise PictureError(f"{path} must end in one of {', '.join(FORMATS)}, not {path.suffix!r}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}, where {path.name} is to go.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"The folder {path.parent} may not be written to.")
    return path


def write(picture: Tensor, path: str | Path) -> None:
    """Write a picture whole or not at all: what was there stays until the new file is complete.

    Args:
        picture: :math:`(3, H, W)`; what is outside [0, 1] is clipped.
        path: a file; its suffix says the format.

    Raises:
        OSError: as :func:`writable`, or if the disk is full.
        PictureError: if the format is unknown, or the picture has values that are not finite.
    """
    path = writable(path)
    if not picture.isfinite().all():
        raise PictureError("The picture has values that are not finite.")
    image = Image.fromarray(to_array(picture))
    with whole(path) as file:
        image.save(file, **FORMATS[path.suffix.lower()])
