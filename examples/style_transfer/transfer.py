"""Transfer the colours and the texture of one picture to another, in closed form.

Nothing is learnt and nothing downloaded. CONTENT and STYLE are files, or names of photographs that
come with scikit-image and scikit-learn. See ``stylise.py`` for the mathematics.
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

from torch import Tensor

from colours import TOLERANCE
from common.checks import require
from covlayers.functional import METHODS
from photos import PHOTOS
from pictures import FORMATS, from_bytes, read, writable, write
from stylise import StyleTransfer, shrink


def load(name: str) -> Tensor:
    """A picture :math:`(3, H, W)` in [0, 1] from a file, or a bundled one by its name.

    Raises:
        OSError: if there is no such file, or it may not be read.
        PictureError: if it is no picture.
    """
    if name in PHOTOS:
        return from_bytes(PHOTOS[name]())
    if not Path(name).exists():
        raise FileNotFoundError(f"There is no file {name!r}, and no photograph of that name.")
    return read(name)


def load_mask(name: str | None, picture: Tensor, argument: str) -> Tensor | None:
    """The grey levels of a file as a mask :math:`(H, W)` of a picture, None for no file.

    Raises:
        ValueError: if it has another size than the picture, or is black everywhere.
    """
    if name is None:
        return None
    mask = load(name).mean(0)
    (height, width), (rows, columns) = picture.shape[1:], mask.shape
    same = (height, width) == (rows, columns)
    require(same, argument, f"as large as its picture, {width} x {height}", f"{columns} x {rows}")
    require(bool(mask.any()), argument, "white where the picture counts", f"{name}, all black")
    return mask


def transfer(options: Namespace) -> str:
    """Do what the command line says, and tell in a line what came out."""
    start = time.perf_counter()
    names = [Path(name).stem for name in (options.content, options.style)]
    output = writable(options.output or f"{names[0]}_{names[1]}.png")
    method = StyleTransfer(options.alpha, options.levels, options.groups, options.method)
    require(options.size > 0, "--size", "a positive number of pixels", options.size)
    content, style = load(options.content), load(options.style)
    masks = [
        load_mask(options.content_mask, content, "--content-mask"),
        load_mask(options.style_mask, style, "--style-mask"),
    ]
    content, masks[0] = shrink(content, options.size), shrink(masks[0], options.size)
    result = method(content, style, *masks)
    write(result.picture, output)
    height, width = content.shape[1:]
    blended = options.alpha < 1 or options.content_mask is not None
    missed = result.distance >= TOLERANCE
    return (
        f"{names[0]} in the style of {names[1]}, {width} x {height}, is in {output}. "
        f"The covariance of its colours{' before blending' if blended else ''} is "
        f"{result.distance:.2%} off the style's, "
        f"{f'more than the {TOLERANCE:.0%} sought, ' if missed else ''}after {result.steps} steps. "
        f"{time.perf_counter() - start:.1f} s."
    )


def parser() -> ArgumentParser:
    """The command line."""
    line = ArgumentParser(
        prog="transfer.py",
        description=" ".join(__doc__.split("\n\n")[0].split()),
        epilog=f"Photographs: {', '.join(PHOTOS)}. Formats: {', '.join(FORMATS)}; those that keep "
        "every byte also keep the colours' covariance as printed.",
    )
    options: dict[str, dict[str, Any]] = {
        "content": {"nargs": "?", "default": "china", "help": "file, or name of a photograph"},
        "style": {"nargs": "?", "default": "flower", "help": "file, or name of a photograph"},
        "--alpha": {"type": float, "default": 1.0, "help": "strength, 0 to 1"},
        "--levels": {"type": int, "default": 3, "help": "the more, the larger the texture"},
        "--groups": {"type": int, "default": 1, "help": "of 24 patch features; 24 is AdaIN"},
        "--method": {"choices": METHODS, "default": "auto", "help": "how roots are computed"},
        "--size": {"type": int, "default": 4096, "help": "longest side of the result, in pixels"},
    }
    for name, option in options.items():
        line.add_argument(name, **option | {"help": option["help"] + " (default: %(default)s)"})
    line.add_argument("-o", "--output", help="file to write (default: CONTENT_STYLE.png)")
    line.add_argument("--content-mask", metavar="FILE", help="white where the content changes")
    line.add_argument("--style-mask", metavar="FILE", help="white where the style is taken from")
    return line


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what is wrong with the input ends it with a line and status 2."""
    line = parser()
    try:
        print(transfer(line.parse_args(arguments)))
    except (OSError, ValueError) as error:
        line.exit(2, f"{line.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
