"""The vision transformer example: its tokens, its stems, its heads, and what it draws."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("pytorch_lightning")  # their training

HEADS = ("class_token", "avg", "mpn", "isqrt", "mpa", "cross")
FUSIONS = ("sum", "concat", "late", "visual_only")
STEMS = ("patch", "conv")
TINY = {"embed_dim": 16, "stem_width": 4, "depth": 2, "reduced_channels": 4}


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("vit")


@pytest.fixture
def build(example: SimpleNamespace) -> Callable[..., torch.nn.Module]:
    def build(**options: object) -> torch.nn.Module:
        torch.manual_seed(0)
        return example.module.SecondOrderViTClassifier(**TINY | options)

    return build


def test_every_choice_is_tested(example: SimpleNamespace) -> None:
    assert tuple(example.network.HEADS) == HEADS
    assert tuple(example.stem.STEMS) == STEMS
    assert set(example.spectrum.MATRICES) == set(HEADS) - {"class_token", "avg"}


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("head", HEADS)
def test_head_has_finite_gradients(build: Callable, head: str, stem: str) -> None:
    model = build(head=head, stem=stem)
    model(torch.randn(4, 1, 8, 8)).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusion_has_finite_gradients(build: Callable, fusion: str) -> None:
    model = build(head="mpa", fusion=fusion)
    model(torch.randn(4, 1, 8, 8)).square().sum().backward()
    reached = [weight.grad for weight in model.network.head.parameters()]
    assert all(gradient.isfinite().all() for gradient in reached)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(("image_size", "patch_size"), [(8, 2), (32, 4), (64, 16), (64, 32)])
def test_stem_makes_a_token_per_patch(
    build: Callable, stem: str, image_size: int, patch_size: int
) -> None:
    model = build(stem=stem, image_size=image_size, patch_size=patch_size, head="class_token")
    tokens = model.network.tokens(torch.randn(2, 1, image_size, image_size))
    assert tokens.shape == (2, 1 + (image_size // patch_size) ** 2, 16)


def test_heads_share_trunk_and_initial_weights(build: Callable) -> None:
    expected = {name: weight for name, weight in build(head="class_token").named_parameters()}
    trunk = [name for name in expected if not name.startswith("network.head")]
    for head in HEADS:
        weights = dict(build(head=head).named_parameters())
        assert [name for name in weights if not name.startswith("network.head")] == trunk
        assert all(torch.equal(weights[name], expected[name]) for name in trunk)


def test_blocks_start_from_weights_of_their_own(build: Callable) -> None:
    first, second = build().network.blocks
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_baseline_reads_the_class_token_only(build: Callable) -> None:
    head = build(head="class_token").network.head
    tokens = torch.randn(2, 17, 16)
    other = torch.cat([tokens[:, :1], torch.randn(2, 16, 16)], 1)
    assert torch.equal(head(tokens), head(other))


@pytest.mark.parametrize("head", ["avg", "mpa", "cross"])
def test_pooling_reads_the_visual_tokens_in_any_order(build: Callable, head: str) -> None:
    head = build(head=head).eval().network.head
    tokens = torch.randn(2, 17, 16)
    order = [0, *(1 + torch.randperm(16)).tolist()]
    torch.testing.assert_close(head(tokens[:, order]), head(tokens))
    assert not torch.allclose(head(tokens), head(torch.cat([tokens[:, :1], tokens[:, :-1]], 1)))


def test_class_attention_is_that_of_the_block(example: SimpleNamespace, build: Callable) -> None:
    """Computed by its definition, from the projections of the last block."""
    network = build(num_heads=2).eval().network
    inputs = torch.randn(3, 1, 8, 8)
    last = network.blocks[-1]
    tokens = last.norm1(network.blocks[0](network.embed(inputs)))
    query, key, _ = last.self_attn.in_proj_weight.chunk(3)
    q, k = ((tokens @ w.mT).unflatten(2, (2, 8)).transpose(1, 2) for w in (query, key))
    expected = (q @ k.mT / 8**0.5).softmax(-1).mean(1)[:, 0, 1:]
    attention = example.tokens.class_attention(network, inputs)
    torch.testing.assert_close(attention, expected)


def test_support_of_a_mean_is_known(example: SimpleNamespace, build: Callable) -> None:
    """Without token m of M the mean moves by (mean - token) / (M - 1), and the logits linearly."""
    network = build(head="avg", fusion="visual_only").eval().network
    inputs = torch.randn(3, 1, 8, 8)
    visual = network.tokens(inputs)[:, 1:]
    weight = network.head.fusion.classifier.weight
    moved = (visual - visual.mean(1, keepdim=True)) @ weight.mT / 15
    centred = moved - moved.mean(-1, keepdim=True)
    predicted = network(inputs).argmax(-1)
    expected = centred[torch.arange(3), :, predicted]
    torch.testing.assert_close(example.tokens.support(network, inputs), expected)


def test_normalised_spectrum_is_the_root(example: SimpleNamespace, build: Callable) -> None:
    network = build(head="mpn").eval().network
    before, after = example.spectrum.singular_values(network, "mpn", torch.randn(8, 1, 8, 8))
    torch.testing.assert_close(after.square(), before, rtol=1e-3, atol=1e-5)


def test_normalised_cross_spectrum_is_a_multiple(example: SimpleNamespace, build: Callable) -> None:
    """With one singular value raised, the others take its factor."""
    network = build(head="cross").eval().network
    before, after = example.spectrum.singular_values(network, "cross", torch.randn(8, 1, 8, 8))
    factor = after[:, :1] / before[:, :1]
    torch.testing.assert_close(after, factor * before, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "figures"),
    [
        ("class_token", {"report.png", "tokens.png"}),
        ("avg", {"report.png", "tokens.png"}),
        ("mpa", {"report.png", "tokens.png", "spectrum.png"}),
        ("cross", {"report.png", "tokens.png", "spectrum.png"}),
    ],
)
def test_fit_draws_what_the_head_takes(
    example: SimpleNamespace, head: str, figures: set[str]
) -> None:
    short = ("accelerator=cpu", "max_epochs=1", "log_every_n_steps=1")
    limits = (f"limit_{split}_batches=2" for split in ("train", "val", "test"))
    options = [f"--trainer.{option}" for option in (*short, *limits)]
    command = example.main.cli(["fit", *options, f"--model.head={head}"])
    drawn = list(Path(command.trainer.log_dir).glob("*.png"))
    assert {path.name for path in drawn} == figures
    for path in drawn:
        with Image.open(path) as figure:
            assert figure.width > 900


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "max"}, r"head must be one of \['class_token', 'avg', .*\], got 'max'"),
        ({"stem": "mlp"}, r"stem must be one of \['patch', 'conv'\], got 'mlp'"),
        ({"head": "mpa", "fusion": "early"}, "fusion must be .*'early'"),
        ({"head": "mpa", "reduced_channels": [4, 2]}, "reduced_channels must be .*"),
        ({"patch_size": 3}, "patch_size must be a divisor of 8, got 3"),
        ({"patch_size": 0}, "patch_size must be a positive number of pixels, got 0"),
        ({"stem": "conv", "image_size": 9, "patch_size": 3}, "patch_size must be a power of two"),
        ({"stem": "conv", "stem_width": 0}, "stem_width must be positive, got 0"),
        ({"embed_dim": 0}, "embed_dim must be positive, got 0"),
        ({"num_heads": 5}, "num_heads must be a divisor of 16, got 5"),
        ({"depth": 0}, "depth must be positive, got 0"),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be positive, got 0.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_model_option_is_named(build: Callable, options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        build(**options)


def test_images_of_another_size_are_named(build: Callable) -> None:
    with pytest.raises(ValueError, match=r"images must be 8 pixels a side, got \(9, 9\)"):
        build()(torch.randn(2, 1, 9, 9))


def test_variants_differ_in_head_and_stem_only(example: SimpleNamespace) -> None:
    heads, stems = example.compare.EXPERIMENT.comparisons.values()
    assert all(set(options) <= {"head", "reduced_channels"} for options in heads.values())
    assert all(set(options) <= {"head", "stem"} for options in stems.values())
