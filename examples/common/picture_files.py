"""Pictures in files that others have made: what is large or broken is refused, by its name."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MOST_PIXELS = 1024**3 // 12
"""As many as Pillow takes without a warning: in three channels a quarter of a gigabyte."""


class PictureError(ValueError):
    """A file that is no picture that can be read, or cannot be written as one."""


@contextmanager
def opened(path: str | Path, most_pixels: int = MOST_PIXELS) -> Iterator[Image.Image]:
    """A picture whose header is read; its pixels are, when they are asked for.

    Args:
        path: a file of any format that Pillow reads.
        most_pixels: a larger picture is refused before any of its pixels are read.

    Raises:
        OSError: if there is no such file, or it may not be read.
        PictureError: if it is empty, no image, too large, or damaged where it is looked at.
    """
    path = Path(path)
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if path.stat().st_size == 0:
            raise PictureError(f"{path} is empty.")
        try:
            image = Image.open(file)
            width, height = image.size
            if width * height > most_pixels:
                raise PictureError(
                    f"{path} has {width} x {height} pixels; at most {most_pixels:,} are read."
                )
            yield image
        except PictureError:
            raise
        except UnidentifiedImageError:
            raise PictureError(f"{path} is no image of a format that Pillow reads.") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise PictureError(f"{path} is too large: {error}") from error
        except Exception as error:  # a broken file can fail anywhere in a decoder
            raise PictureError(f"{path} is damaged: {error}") from error


def load_rgb(path: str | Path) -> Image.Image:
    """A picture in three channels, as the datasets of torchvision take it from a ``loader``.

    Raises:
        OSError: if there is no such file, or it may not be read.
        PictureError: if it is no picture that can be read.
    """
    with opened(path) as image:
        return image.convert("RGB")
