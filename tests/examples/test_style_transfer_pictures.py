"""Pictures in files for style transfer, and the command line that needs no training."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="module")
def example(load_example) -> SimpleNamespace:
    return load_example("style_transfer")


def save(array: np.ndarray, name: str, **options) -> Path:
    Image.fromarray(array).save(name, **options)
    return Path(name)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def fails(example, capsys, *arguments: str) -> str:
    """What the command line says as it ends with status 2 and leaves the folder as it was."""
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    with pytest.raises(SystemExit) as stop:
        example.transfer.main(list(arguments))
    assert stop.value.code == 2
    assert before == {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    out, error = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in error
    return error.splitlines()[-1]


def test_photographs_are_colour_bytes_with_their_sources(example):
    assert example.photos.PHOTOS.keys() == example.photos.ATTRIBUTION.keys()
    for load in example.photos.PHOTOS.values():
        photo = load()
        assert photo.dtype == np.uint8
        assert photo.ndim == 3
        assert photo.shape[2] == 3


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_what_is_written_is_read_again(example, suffix):
    picture = example.pictures.from_bytes(noise(5, 7, 3))
    example.pictures.write(picture, f"a.{suffix}")
    assert torch.equal(example.pictures.read(f"a.{suffix}"), picture)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "PNG"])
def test_other_formats_are_written_and_read(example, suffix):
    example.pictures.write(torch.rand(3, 16, 16), f"a.{suffix}")
    assert example.pictures.read(f"a.{suffix}").shape == (3, 16, 16)


def test_grey_becomes_three_equal_channels(example):
    grey = noise(6, 4)
    read = example.pictures.read(save(grey, "a.png"))
    assert torch.equal(read, torch.from_numpy(grey).float().expand(3, -1, -1) / 255)


def test_sixteen_bits_keep_their_levels(example):
    levels = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000
    read = example.pictures.read(save(levels, "a.png"))
    expected = torch.from_numpy(levels.astype(np.float32)) / 65535
    assert torch.allclose(read, expected.expand(3, -1, -1))


def test_transparent_lies_on_white(example):
    rgba = noise(4, 4, 4)
    rgba[..., 3] = 0
    assert (example.pictures.read(save(rgba, "a.png")) == 1).all()
    palette = Image.fromarray(np.zeros((3, 3), np.uint8), "P")
    palette.save("b.png", transparency=0)
    assert (example.pictures.read("b.png") == 1).all()


def test_palette_and_bits_and_cmyk_are_read(example):
    for mode in ("P", "1", "CMYK", "LA"):
        name = "a.tif" if mode == "CMYK" else "a.png"
        Image.fromarray(noise(9, 8, 3)).convert(mode).save(name)
        assert example.pictures.read(name).shape == (3, 9, 8)


def test_exif_turns(example):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    array = noise(4, 6, 3)
    path = save(array, "a.png", exif=exif)
    turned = torch.from_numpy(np.rot90(array, -1).copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(example.pictures.read(path), turned)


def broken_files() -> dict[str, bytes]:
    whole = BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(whole, "PNG")
    deep = BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(deep, "TIFF")
    return {
        "is empty": b"",
        "no image": b"a text, not a picture",
        "damaged": whole.getvalue()[: len(whole.getvalue()) // 2],
        "32 bits": deep.getvalue(),
    }


@pytest.mark.parametrize("message", broken_files())
def test_a_file_that_is_no_picture_is_named(example, message):
    Path("a.png").write_bytes(broken_files()[message])
    with pytest.raises(example.pictures.PictureError, match=rf"a\.png.*{message}"):
        example.pictures.read("a.png")


def test_no_file_and_a_folder(example):
    with pytest.raises(FileNotFoundError):
        example.pictures.read("a.png")
    with pytest.raises(IsADirectoryError):
        example.pictures.read(".")


def test_too_large_is_refused_from_the_header(example, monkeypatch):
    path = save(noise(10, 11, 3), "a.png")
    with pytest.raises(example.pictures.PictureError, match="11 x 10 pixels; at most 100"):
        example.pictures.read(path, most_pixels=100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    with pytest.raises(example.pictures.PictureError, match="too large"):
        example.pictures.read(path)


def test_what_was_there_stays_when_writing_fails(example, monkeypatch):
    Path("a.png").write_bytes(b"before")

    def save_half(self, file, **options):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", save_half)
    with pytest.raises(OSError, match="No space"):
        example.pictures.write(torch.rand(3, 4, 4), "a.png")
    assert [path.name for path in Path().iterdir()] == ["a.png"]
    assert Path("a.png").read_bytes() == b"before"


@pytest.mark.parametrize("name", ["a.gif", "a", "a.xyz"])
def test_an_unknown_format_is_named(example, name):
    with pytest.raises(example.pictures.PictureError, match=r"must end in one of .*\.png"):
        example.pictures.write(torch.rand(3, 4, 4), name)
    assert not list(Path().iterdir())


def test_places_that_take_no_file(example):
    Path("folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        example.pictures.write(torch.rand(3, 4, 4), "folder.png")
    with pytest.raises(FileNotFoundError, match="no folder missing"):
        example.pictures.write(torch.rand(3, 4, 4), "missing/a.png")


def test_values_that_are_not_finite_are_not_written(example):
    with pytest.raises(example.pictures.PictureError, match="not finite"):
        example.pictures.write(torch.full((3, 4, 4), torch.nan), "a.png")
    assert not list(Path().iterdir())


def test_command_line_writes_a_picture(example, capsys):
    save(noise(40, 50, 3), "content.png")
    example.transfer.main(["content.png", "flower", "--size", "48"])
    assert "% off" in capsys.readouterr().out
    assert example.pictures.read("content_flower.png").shape == (3, 38, 48)


def test_command_line_takes_masks(example):
    save(noise(40, 50, 3), "content.png")
    mask = np.zeros((40, 50), np.uint8)
    mask[:20] = 255
    save(mask, "mask.png")
    example.transfer.main(
        [
            "content.png",
            "content.png",
            "-o",
            "out.png",
            "--alpha",
            "0.5",
            "--content-mask",
            "mask.png",
            "--style-mask",
            "mask.png",
        ]
    )
    before, after = map(example.pictures.read, ("content.png", "out.png"))
    assert torch.equal(before[:, 20:], after[:, 20:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "cat"], "no file 'missing.png'"),
        (["text.png", "cat"], "no image"),
        (["cat", "."], "Is a directory"),
        (["cat", "china", "-o", "missing/out.png"], "no folder missing"),
        (["cat", "china", "-o", "out.gif"], "must end in one of"),
        (["cat", "china", "--alpha", "1.5"], "alpha must be"),
        (["cat", "china", "--alpha", "nan"], "alpha must be"),
        (["cat", "china", "--alpha", "much"], "invalid float"),
        (["cat", "china", "--groups", "7"], "groups must be"),
        (["cat", "china", "--levels", "-1"], "levels must be"),
        (["cat", "china", "--size", "0"], "--size must be"),
        (["cat", "china", "--method", "magic"], "invalid choice"),
        (["cat", "china", "--content-mask", "small.png"], "--content-mask must be as large"),
        (["small.png", "china", "--content-mask", "black.png"], "--content-mask must be white"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(example, capsys, arguments, message):
    Path("text.png").write_text("a text")
    save(noise(4, 4, 3), "small.png")
    save(np.zeros((4, 4), np.uint8), "black.png")
    assert message in fails(example, capsys, *arguments)
