"""The Lightning module of the examples: a network, its loss, its optimiser and what is measured."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from common.checks import choose, require

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"class": torch.optim.SGD, "momentum": 0.9, "nesterov": True},
    "adamw": {"class": torch.optim.AdamW},
}


class Classifier(LightningModule):
    """A classifier; an example adds the network.

    The learning rate rises linearly, then falls on a cosine that ends with the last planned epoch.
    With milestones it falls in steps instead.

    Args:
        network: from inputs to logits; its last layer is called ``classifier``.
        num_classes: number of classes.
        optimizer: ``sgd``, with Nesterov momentum 0.9, or ``adamw``.
        lr: the highest learning rate.
        classifier_lr_factor: by how much the learning rate of the network's last layer is higher.
        weight_decay: of the optimiser.
        warmup: the part of all steps during which the learning rate rises, in (0, 1).
        milestones: epochs after which the learning rate falls by ten, without rise and cosine.
        label_smoothing: share of the target spread over all classes, in [0, 1).

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        optimizer: str = "sgd",
        lr: float = 0.1,
        classifier_lr_factor: float = 1.0,
        weight_decay: float = 5e-4,
        warmup: float = 0.2,
        milestones: list[int] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        require(num_classes > 1, "num_classes", "at least 2", num_classes)
        choose("optimizer", OPTIMIZERS, optimizer)
        require(lr > 0, "lr", "positive", lr)
        require(classifier_lr_factor > 0, "classifier_lr_factor", "positive", classifier_lr_factor)
        require(weight_decay >= 0, "weight_decay", "0 or more", weight_decay)
        require(0 < warmup < 1, "warmup", "between 0 and 1", warmup)
        require(min(milestones or [1]) > 0, "milestones", "positive epochs", milestones)
        require(0 <= label_smoothing < 1, "label_smoothing", "in [0, 1)", label_smoothing)
        self.save_hyperparameters(ignore=["network"])
        self.network = network
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_accuracy = self.train_accuracy.clone()
        self.test_accuracy = self.train_accuracy.clone()
        self.confusion = MulticlassConfusionMatrix(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        x, labels = batch
        logits = self(x)
        loss = self.loss(logits, labels)
        self.train_accuracy(logits, labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        x, labels = batch
        logits = self(x)
        self.val_accuracy(logits, labels)
        self.log("val_loss", self.loss(logits, labels), sync_dist=True)
        self.log("val_accuracy", self.val_accuracy, prog_bar=True)

    def on_test_epoch_start(self) -> None:
        self.confusion.reset()

    def test_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        x, labels = batch
        logits = self(x)
        self.test_accuracy(logits, labels)
        self.confusion.update(logits, labels)
        self.log("test_accuracy", self.test_accuracy)

    def on_test_epoch_end(self) -> None:
        self.confusion.compute()  # over all processes, while they can talk; the metric keeps it

    def predict_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        x, _labels = batch
        probability, label = self(x).softmax(-1).max(-1)
        return {"class": label, "probability": probability}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameters in groups of one learning rate."""
        lr, factor = self.hparams.lr, self.hparams.classifier_lr_factor
        if factor == 1:
            return [{"params": list(self.parameters()), "lr": lr}]
        classifier = list(self.network.classifier.parameters())
        rest = [p for p in self.parameters() if all(p is not other for other in classifier)]
        return [{"params": rest, "lr": lr}, {"params": classifier, "lr": lr * factor}]

    def configure_optimizers(self) -> Any:
        options = dict(OPTIMIZERS[self.hparams.optimizer])
        build = options.pop("class")
        groups = self.parameter_groups()
        optimizer = build(groups, weight_decay=self.hparams.weight_decay, **options)
        if self.hparams.milestones is not None:
            return [optimizer], [MultiStepLR(optimizer, self.hparams.milestones)]
        schedule = OneCycleLR(
            optimizer,
            [group["lr"] for group in groups],
            total_steps=self.trainer.estimated_stepping_batches,
            pct_start=self.hparams.warmup,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
