"""What becomes of whole models: ``python -m tests.families`` writes docs/families.json.

Models of torchvision and timm, which has to be installed, one or two of a family: every BatchNorm
is converted, the head replaced, a step trained on small images, the whitening folded, the result
exported. ``python -m tests.families NAME ...`` tries these models again, and leaves the others.
"""

import argparse
import copy
import gc
import importlib
import json
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import covlayers as cl
from covlayers.functional import UnsupportedError
from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.surgery.folding import PointwiseAffine
from tests.marked import ROOT

FILE = ROOT / "docs" / "families.json"
SIZES = (64, 128, 224, 256)
LARGER = {  # for two positions at least
    "torchvision.alexnet": 128,
    "torchvision.inception_v3": 299,
    "timm.efficientvit_m0": 224,
}
BATCH, CLASSES = 4, 5
TORCHVISION = """
    alexnet vgg11_bn squeezenet1_1 resnet18 resnext50_32x4d densenet121 googlenet inception_v3
    mobilenet_v2 mobilenet_v3_small mnasnet0_5 shufflenet_v2_x0_5 efficientnet_b0 regnet_y_400mf
    convnext_tiny swin_t swin_v2_t vit_b_32 maxvit_t quantization.mobilenet_v2
    quantization.resnet18 video.r3d_18 video.s3d video.mvit_v1_b
    segmentation.lraspp_mobilenet_v3_large
"""
TIMM = """
    resnet18 resnet18d res2net50_14w_8s cspresnet50 densenet121 vgg11_bn dla34 hrnet_w18_small
    efficientnet_b0 mobilenetv3_small_050 mobilenetv4_conv_small_050 ghostnet_050 rexnet_100
    regnety_002 repvgg_a0 mobileone_s0 fastvit_t8 convnext_atto inception_next_atto
    efficientvit_b0 efficientvit_m0 efficientvim_m1 edgenext_xx_small mobilevit_xxs
    poolformer_s12 levit_128s maxvit_rmlp_pico_rw_256 coat_tiny pvt_v2_b0 twins_svt_small
    swin_tiny_patch4_window7_224 vit_tiny_patch16_224 deit_tiny_distilled_patch16_224
    cait_xxs24_224 pit_ti_224 mixer_s32_224
"""


MODELS = [
    f"{library}.{name}"
    for library, names in {"torchvision": TORCHVISION, "timm": TIMM}.items()
    for name in names.split()
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the models and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; default: all")
    names = parser.parse_args(arguments).names
    import timm

    known = {one["model"]: one for one in json.loads(FILE.read_text())["rows"]} if names else {}
    for name in names or MODELS:
        known[name] = {"model": name, **row(lambda name=name: built(name), LARGER.get(name))}
        print(json.dumps(known[name]), flush=True)
        gc.collect()
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "covlayers": cl.__version__,
    }
    rows = [known[name] for name in MODELS]
    FILE.write_text(json.dumps({"metadata": facts, "rows": rows}, indent=1) + "\n")


def built(name: str) -> nn.Module:
    """A model of a library with weights that are drawn."""
    library, *parts, function = name.split(".")
    if library == "timm":
        import timm

        return timm.create_model(function)
    place = importlib.import_module(".".join(["torchvision", "models", *parts]))
    options = {"weights_backbone": None} if parts == ["segmentation"] else {}
    model: nn.Module = getattr(place, function)(**options)
    return model


def row(make: Callable[[], nn.Module], size: int | None = None) -> dict[str, Any]:
    """What becomes of one model, in a word or two for each column; an error ends the row."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few samples, which small images are
        model = make()
        found: dict[str, Any] = {}
        try:
            return found | tried(model, small_images(model, size), found)
        except UnsupportedError as error:
            return found | {"refused": str(error).partition(" Name the module")[0]}
        except Exception as error:  # whatever is not refused is a fault, and shown as one
            return found | {"fault": f"{type(error).__name__}: {error}".splitlines()[0]}


def tried(model: nn.Module, x: Tensor, found: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row; ``found`` has those before an error."""
    found["input"] = list(x.shape[2:])
    total = norms(model, _BatchNorm)
    if total:
        model = cl.convert_batchnorm(model, group_size="auto", eps=1e-3)
    found["converted"] = [norms(model, CovarianceNorm), total]
    replaced = cl.replace_head(model, cl.MPACovPool, CLASSES, reduced_channels=16)
    found["head"] = "in place" if replaced is model else "around"
    found["trained"] = trains(replaced, x)
    replaced.eval()
    with torch.no_grad():
        y, folded = replaced(x), cl.fold(replaced) if total else replaced
        alone = norms(folded, CovarianceNorm) + norms(folded, PointwiseAffine)
        found["folded"] = [found["converted"][0] - alone, total]
        found["same"] = close(folded(x), y)
        exported = torch.export.export(folded, (x,)).module()
        found["exported"] = close(exported(x), y)
    return found


def norms(model: nn.Module, kind: type[nn.Module]) -> int:
    """How many layers of a kind a model has."""
    return sum(isinstance(module, kind) for module in model.modules())


def small_images(model: nn.Module, size: int | None) -> Tensor:
    """A batch of images, or clips, of this size, or of the smallest that the model takes."""
    stem = next(m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    frames = (16,) if isinstance(stem, nn.Conv3d) else ()
    twin = copy.deepcopy(model).eval()
    for side in SIZES if size is None else (size,):
        x = torch.randn(BATCH, stem.in_channels, *frames, side, side)
        try:
            with torch.no_grad():
                twin(x[:1])
        except Exception:  # whatever the model says of another size
            continue
        return x
    raise ValueError(f"no size of {SIZES} suits {type(model).__name__}")


def trains(model: nn.Module, x: Tensor) -> bool:
    """Whether a step has a finite loss and finite gradients, of the new head too."""
    logits = model.train()(x)
    logits = logits if isinstance(logits, Tensor) else logits[0]  # auxiliary classifiers
    loss = nn.functional.cross_entropy(logits, torch.arange(len(x)) % CLASSES)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    return bool(loss.isfinite()) and finite and logits.shape == (len(x), CLASSES)


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two batches of logits are the same but for rounding."""
    return bool((a - b).abs().max() <= 1e-3 * b.abs().max())


if __name__ == "__main__":
    main()
