"""What timm asks a model, and a model with a new head answers."""

import pytest
import torch

from covlayers import MPNCovPool, replace_head

timm = pytest.importorskip("timm")
optim = pytest.importorskip("timm.optim")

MODELS = (
    *("resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"),
    *("mobilenetv3_small_050", "vgg11_bn", "deit_tiny_distilled_patch16_224", "densenet121"),
)


def built(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A model of timm, and another one with a new head."""
    with torch.device("meta"):
        models = [timm.create_model(name, num_classes=7) for _ in range(2)]
        return models[0], replace_head(models[1], MPNCovPool, 7, reduced_channels=8)


@pytest.mark.parametrize("name", MODELS)
def test_data_are_prepared_as_for_the_model(name: str) -> None:
    plain, new = built(name)
    assert new.pretrained_cfg == plain.pretrained_cfg
    assert timm.data.resolve_model_data_config(new) == timm.data.resolve_model_data_config(plain)


@pytest.mark.parametrize("name", MODELS)
def test_what_does_not_decay(name: str) -> None:
    plain, new = built(name)
    names = {id(p): key for key, p in new.named_parameters()}
    still = getattr(plain, "no_weight_decay", set)()
    assert hasattr(new, "no_weight_decay") == hasattr(plain, "no_weight_decay")
    kept = {f"backbone.{key}" for key in still} & set(names.values())
    exempt = getattr(new, "no_weight_decay", set)()
    groups = optim.param_groups_weight_decay(new, 0.1, no_weight_decay_list=exempt)
    undecayed = {
        names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]
    }
    assert kept <= undecayed
    if "vit" in name:
        assert {"backbone.pos_embed", "backbone.cls_token"} <= kept


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_layers_are_grouped_as_in_the_model(name: str, coarse: bool) -> None:
    plain, new = built(name)
    group = timm.models.group_parameters
    expected = group(plain, plain.group_matcher(coarse=coarse), reverse=True)
    found = group(new, new.group_matcher(coarse=coarse), reverse=True)
    shared = [key for key in expected if f"backbone.{key}" in found]
    assert len(shared) > 10
    assert {key: found[f"backbone.{key}"] for key in shared} == {
        key: expected[key] for key in shared
    }
    last = max(found.values())
    assert all(found[key] == last for key in found if key.startswith("head."))


def test_learning_rates_decay_towards_the_input() -> None:
    _, new = built("vit_tiny_patch16_224")
    names = {id(p): key for key, p in new.named_parameters()}
    scales = {
        names[id(p)]: group["lr_scale"]
        for group in optim.param_groups_layer_decay(new, layer_decay=0.5)
        for p in group["params"]
    }
    assert scales["backbone.patch_embed.proj.weight"] < scales["backbone.blocks.3.attn.qkv.weight"]
    assert scales["backbone.blocks.3.attn.qkv.weight"] < scales["backbone.blocks.9.attn.qkv.weight"]
    assert {scale for key, scale in scales.items() if key.startswith("head.")} == {1.0}


def test_activation_checkpointing() -> None:
    _, new = built("vit_tiny_patch16_224")
    new.set_grad_checkpointing(True)
    assert new.backbone.grad_checkpointing
