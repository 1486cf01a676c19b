"""The Lightning module: a network that transfers style, its losses, and what is measured."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from bottleneck import VGGBottleneck
from common.checks import choose, require
from common.pretrained import find_weights
from covlayers import WhiteningLoss
from features import FEATURES
from hops import make_hop
from losses import content_loss, style_distance, style_loss
from metrics import StyleMetrics
from network import Pyramid
from pairs import Pair
from vgg import VGG19

NETWORKS: dict[str, Callable[..., nn.Module]] = {"pyramid": Pyramid, "vgg19": VGGBottleneck}


class StyleModel(LightningModule):
    """A network with whitening-coloring hops, for styles that it has not seen.

    A step whose gradient is not finite is counted and left out: no weight changes.

    Args:
        network: ``pyramid``, or ``vgg19`` with features that do not learn.
        transfer: ``whitening_coloring`` or ``adain``: what hops take of the style.
        features: ``random`` or ``vgg19``: what losses and metrics compare pictures by.
        num_scales: of a pyramid.
        num_hops: hops, at each scale of a pyramid.
        num_groups: groups of channels of every hop.
        filter_size: side of a pyramid's filters, in pixels.
        method: how hops compute roots, see :func:`covlayers.functional.sqrtm`.
        backward: how they differentiate them; by default as suits the method.
        weights: torchvision's of VGG-19, such as ``IMAGENET1K_V1``, which are fetched.
        content_weight: of the distance between the output's content and the content's.
        style_weight: of the distance between the output's style and the style's.
        reconstruction_weight: of how far the style that comes out is from what came in.
        whitening_weight: of how far the content's features are from white ones.
        lr: the highest learning rate.
        alpha_lr_factor: by how much the learning rate of the hops' strengths is higher.
        warmup: the part of all steps during which the learning rate rises, in (0, 1).

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        network: str = "pyramid",
        transfer: str = "whitening_coloring",
        features: str = "random",
        num_scales: int = 5,
        num_hops: int = 2,
        num_groups: int = 1,
        filter_size: int = 3,
        method: str = "auto",
        backward: str | None = None,
        weights: str | None = None,
        content_weight: float = 1.0,
        style_weight: float = 12.0,
        reconstruction_weight: float = 30.0,
        whitening_weight: float = 0.0,
        lr: float = 1e-4,
        alpha_lr_factor: float = 300.0,
        warmup: float = 0.1,
    ) -> None:
        super().__init__()
        self.weigh = {
            "content": content_weight,
            "style": style_weight,
            "reconstruction": reconstruction_weight,
            "whitening": whitening_weight,
        }
        for name, weight in self.weigh.items():
            require(weight >= 0, f"{name}_weight", "0 or more", weight)
        require(lr > 0, "lr", "positive", lr)
        require(alpha_lr_factor > 0, "alpha_lr_factor", "positive", alpha_lr_factor)
        require(0 < warmup < 1, "warmup", "between 0 and 1", warmup)
        self.save_hyperparameters()
        require(num_hops > 0, "num_hops", "positive", num_hops)
        self.network = choose("network", NETWORKS, network)(
            make_hop(transfer, num_groups, method=method, backward=backward),
            num_hops,
            num_scales=num_scales,
            filter_size=filter_size,
        )
        self.features = choose("features", FEATURES, features)()
        self.whitening = WhiteningLoss(num_groups)
        self.weights = find_weights(features if features == "vgg19" else network, 3, weights)
        self.metrics = nn.ModuleDict({"val": StyleMetrics(), "test": StyleMetrics()})
        self.register_buffer("nonfinite_steps", torch.tensor(0))

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.weights is not None:
            for part in self.modules():
                if isinstance(part, VGG19):
                    part.load(self.weights)

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(content, style)

    def depths(self, x: Tensor) -> list[Tensor]:
        """The fixed features of pictures, in full precision."""
        with torch.autocast(self.device.type, enabled=False):
            return self.features(x.float())

    def losses(self, batch: Pair, output: Tensor, again: Tensor) -> dict[str, Tensor]:
        """The losses of a batch that has come out as ``output`` and, the styles, as ``again``."""
        content, style = batch
        features = self.depths(output)
        losses = {
            "content": content_loss(features, self.depths(content)),
            "style": style_loss(features, self.depths(style)),
            "reconstruction": (again.float() - style).abs().mean(),
        }
        if self.weigh["whitening"]:
            losses["whitening"] = self.whitening(self.network.encode(content))
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the losses."""
        return sum(self.weigh[name] * loss for name, loss in losses.items())

    def training_step(self, batch: Pair, _: int) -> Tensor:
        losses = self.losses(batch, *self(*batch))
        loss = self.total(losses)
        for name, value in {"loss": loss, **losses}.items():
            self.log(f"train_{name}", value, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        grads = [weight.grad for weight in self.parameters() if weight.grad is not None]
        if not nn.utils.get_total_norm(grads).isfinite():
            self.nonfinite_steps += 1
            optimizer.zero_grad()

    def on_train_epoch_end(self) -> None:
        self.log("nonfinite_steps", self.nonfinite_steps.float())
        for number, hop in enumerate(self.network.hops):
            self.log(f"alpha_{number}", hop.alpha.clamp(0, 1))

    def evaluate(self, batch: Pair, split: str) -> None:
        """Measure a batch of a split."""
        content, style = batch
        output, again = self(*batch)
        losses = self.losses(batch, output, again)
        self.log(f"{split}_loss", self.total(losses), sync_dist=True)
        of_output, of_content, of_style = map(self.depths, (output, content, style))
        metrics = self.metrics[split]
        metrics.measure(
            style_distance(of_output, of_style),
            style_distance(of_content, of_style),
            output.float(),
            content,
        )
        for name, metric in metrics.items():
            self.log(f"{split}_{name}", metric)

    def validation_step(self, batch: Pair, _: int) -> None:
        self.evaluate(batch, "val")

    def test_step(self, batch: Pair, _: int) -> None:
        self.evaluate(batch, "test")
        self.log("nonfinite_steps", self.nonfinite_steps.float())

    def predict_step(self, batch: Pair, _: int) -> Tensor:
        return self(*batch)[0]

    def configure_optimizers(self) -> Any:
        alphas = [hop.alpha for hop in self.network.hops]
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        others = [weight for weight in learning if all(weight is not alpha for alpha in alphas)]
        lr, factor = self.hparams.lr, self.hparams.alpha_lr_factor
        optimizer = Adam([{"params": others}, {"params": alphas}])
        schedule = OneCycleLR(
            optimizer,
            [lr, lr * factor],
            total_steps=self.trainer.estimated_stepping_batches,
            pct_start=self.hparams.warmup,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
