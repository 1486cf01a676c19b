"""The Lightning module: one network, its loss, its optimiser and what is measured."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from checks import require
from network import build_network


class ImageClassifier(LightningModule):
    """A classifier of images: the head pools by average or by covariance, the stem may whiten.

    Trained by SGD with Nesterov momentum; the learning rate rises linearly, then falls on a cosine
    that ends with the last planned epoch. With milestones it falls in steps instead.

    Args:
        head: ``avg``, ``mpn``, ``isqrt``, ``mtp`` or ``mpa``.
        backbone: ``small_resnet``, ``resnet18`` or ``resnet50``.
        num_classes: number of classes.
        in_channels: channels of the images.
        reduced_channels: channels on which a covariance is taken; by default those of the backbone.
        small_images: give a large backbone a stem for images of 32 pixels.
        norm: that of the stem: ``batch``, ``decorrelated``, ``iternorm`` or ``pca``.
        norm_options: arguments of that layer, such as ``num_groups``, ``eps`` and ``backward``.
        lr: the highest learning rate.
        weight_decay: of SGD.
        warmup: the part of all steps during which the learning rate rises, in (0, 1).
        milestones: epochs after which the learning rate falls by ten, without rise and cosine.
        label_smoothing: share of the target spread over all classes, in [0, 1).

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        head: str = "isqrt",
        backbone: str = "small_resnet",
        num_classes: int = 10,
        in_channels: int = 1,
        reduced_channels: int | None = None,
        small_images: bool = False,
        norm: str = "batch",
        norm_options: dict[str, Any] | None = None,
        lr: float = 0.1,
        weight_decay: float = 5e-4,
        warmup: float = 0.2,
        milestones: list[int] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        require(num_classes > 1, "num_classes", "at least 2", num_classes)
        require(lr > 0, "lr", "positive", lr)
        require(weight_decay >= 0, "weight_decay", "0 or more", weight_decay)
        require(0 < warmup < 1, "warmup", "between 0 and 1", warmup)
        require(min(milestones or [1]) > 0, "milestones", "positive epochs", milestones)
        require(0 <= label_smoothing < 1, "label_smoothing", "in [0, 1)", label_smoothing)
        self.save_hyperparameters()
        self.network = build_network(
            backbone,
            head,
            num_classes,
            in_channels,
            reduced_channels,
            small_images,
            norm,
            norm_options,
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_accuracy = self.train_accuracy.clone()
        self.test_accuracy = self.train_accuracy.clone()
        self.confusion = MulticlassConfusionMatrix(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = self.loss(logits, labels)
        self.train_accuracy(logits, labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        logits = self(images)
        self.val_accuracy(logits, labels)
        self.log("val_loss", self.loss(logits, labels), sync_dist=True)
        self.log("val_accuracy", self.val_accuracy, prog_bar=True)

    def on_test_epoch_start(self) -> None:
        self.confusion.reset()

    def test_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        logits = self(images)
        self.test_accuracy(logits, labels)
        self.confusion.update(logits, labels)
        self.log("test_accuracy", self.test_accuracy)

    def on_test_epoch_end(self) -> None:
        self.confusion.compute()  # over all processes, while they can talk; the metric keeps it

    def predict_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        images, _ = batch
        probability, label = self(images).softmax(-1).max(-1)
        return {"class": label, "probability": probability}

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.SGD(
            self.parameters(),
            lr=self.hparams.lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=self.hparams.weight_decay,
        )
        if self.hparams.milestones is not None:
            return [optimizer], [MultiStepLR(optimizer, self.hparams.milestones)]
        schedule = OneCycleLR(
            optimizer,
            self.hparams.lr,
            total_steps=self.trainer.estimated_stepping_batches,
            pct_start=self.hparams.warmup,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
