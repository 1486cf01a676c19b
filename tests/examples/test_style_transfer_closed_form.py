"""Style transfer in closed form: whitening-coloring of pixels and of patches."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

SIDE = 96


@pytest.fixture(scope="module")
def example(load_example) -> SimpleNamespace:
    return load_example("style_transfer")


@pytest.fixture
def photo(example):
    """A photograph by its name, small."""
    pictures, stylise = example.pictures, example.stylise
    return lambda name: stylise.shrink(pictures.from_bytes(example.photos.PHOTOS[name]()), SIDE)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def covariance(picture: torch.Tensor) -> torch.Tensor:
    return torch.cov(picture.flatten(1).double(), correction=0)


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return ((covariance(x) - covariance(y)).norm() / covariance(y).norm()).item()


def test_bands_add_up_to_the_picture(example):
    pyramid = example.pyramid
    x = torch.rand(1, 3, 37, 50)
    scales = pyramid.pyramid(x, 3)
    y = scales[-1]
    for level in (2, 1, 0):
        y = pyramid.enlarge(y, scales[level]) + pyramid.band(scales, level)
    assert torch.allclose(y, x, atol=1e-5)


def test_patches_laid_where_they_are_from_give_back_the_picture(example):
    patches = example.patches
    x = patches.extend(torch.rand(1, 3, 41, 53))
    pixels = torch.nn.functional.unfold(x, patches.SIDE, stride=patches.STEP)[0]
    places = [(length - patches.SIDE) // patches.STEP + 1 for length in x.shape[2:]]
    found = torch.arange(pixels.shape[1]).view(places)
    assert torch.allclose(patches.overlay(pixels, found, x), x, atol=1e-5)


def test_bytes_have_the_covariance_of_the_style_for_every_pair(example, photo):
    photos = {name: example.stylise.shrink(photo(name), 64) for name in example.photos.PHOTOS}
    transfer = example.stylise.StyleTransfer()
    for (content, x), (style, s) in itertools.product(photos.items(), repeat=2):
        stylised = transfer(x, s)
        read_again = example.pictures.to_bytes(stylised.picture) / 255
        assert torch.equal(read_again, stylised.picture)
        assert distance(read_again, s) < 0.01, (content, style)
        assert stylised.distance == pytest.approx(distance(read_again, s), abs=1e-6)


def test_it_is_the_same_each_time(example, photo):
    first, second = (
        example.stylise.StyleTransfer()(photo("cat"), photo("tissue")).picture for _ in range(2)
    )
    assert torch.equal(first, second)


def test_without_strength_the_content_comes_back(example, photo):
    stylised = example.stylise.StyleTransfer(alpha=0)(photo("cat"), photo("tissue")).picture
    assert (stylised - photo("cat")).abs().max() <= 0.5 / 255 + 1e-6


def test_half_the_strength_is_half_way(example, photo):
    half, whole = (
        example.stylise.StyleTransfer(alpha)(photo("cat"), photo("tissue")).picture
        for alpha in (0.5, 1.0)
    )
    assert torch.allclose(half, (photo("cat") + whole) / 2, atol=1 / 255)


def test_texture_comes_from_the_style(example, photo):
    """Its neighbouring pixels differ more like the style's pixels than with colours alone."""
    rough = [
        picture.diff(dim=-1).std()
        for picture in (
            example.stylise.StyleTransfer()(photo("flower"), photo("gravel")).picture,
            example.colours.match(
                *(example.colours.Pixels(photo(name)[None]) for name in ("flower", "gravel")),
                example.stylise.StyleTransfer().layer(1),
            )[0],
            photo("gravel"),
        )
    ]
    assert abs(rough[0] - rough[2]) < abs(rough[1] - rough[2])


def test_a_grey_style_gives_a_grey_picture(example, photo):
    stylised = example.stylise.StyleTransfer()(photo("coffee"), photo("gravel")).picture
    spread = (stylised.amax(0) - stylised.amin(0)).max()
    assert spread <= 1 / 255 + 1e-6


def test_without_variation_there_is_one_colour(example, photo):
    colour = torch.tensor([51.0, 102.0, 204.0]).view(3, 1, 1) / 255
    transfer = example.stylise.StyleTransfer()
    flat = transfer(photo("cat"), colour.expand(3, 20, 30))
    assert torch.allclose(flat.picture, colour.expand_as(flat.picture))
    assert flat.distance == 0
    from_flat = transfer(colour.expand(3, 20, 30), photo("cat"))
    mean = photo("cat").mean((1, 2)).view(3, 1, 1)
    assert torch.allclose(from_flat.picture, mean.expand(3, 20, 30), atol=1 / 255)
    assert from_flat.distance == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (3, 40), (15, 15), (16, 17)])
def test_pictures_of_any_size(example, photo, shape):
    small = example.pictures.from_bytes(noise(*shape, 3))
    for content, style in ((small, photo("cat")), (photo("cat"), small), (small, small)):
        stylised = example.stylise.StyleTransfer()(content, style).picture
        assert stylised.shape == content.shape
        assert stylised.isfinite().all()


@pytest.mark.parametrize("groups", [3, 8, 24])
def test_groups(example, photo, groups):
    stylised = example.stylise.StyleTransfer(groups=groups)(photo("china"), photo("flower"))
    assert stylised.picture.isfinite().all()
    assert (stylised.distance < 0.01) == (groups == 8)


def test_masks(example, photo):
    content, style = photo("china"), photo("flower")
    left = torch.zeros(content.shape[1:])
    left[:, : left.shape[1] // 2] = 1
    top = torch.zeros(style.shape[1:])
    top[: top.shape[0] // 2] = 1
    stylised = example.stylise.StyleTransfer()(content, style, left, top)
    outside = (stylised.picture - content)[:, left == 0]
    assert outside.abs().max() <= 0.5 / 255 + 1e-6
    inside = stylised.picture[:, left == 1]
    assert distance(inside, style[:, top == 1]) < 0.01


@pytest.mark.parametrize(
    "options", [{"alpha": 1.1}, {"levels": -1}, {"groups": 5}, {"groups": 0}, {"method": "magic"}]
)
def test_options_out_of_range_are_named(example, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be"):
        example.stylise.StyleTransfer(**options)


def test_gallery(example, monkeypatch):
    for name in ("CONTENTS", "STYLES", "PAIRS", "NARROW"):
        monkeypatch.setattr(example.gallery, name, getattr(example.gallery, name)[:1])
    monkeypatch.setattr(example.gallery, "LONGEST", 48)
    example.gallery.main(["--output", "figures"])
    for name in example.gallery.FIGURES:
        with Image.open(f"figures/style_transfer_{name}.jpg") as figure:
            assert min(figure.size) > 200
