"""Processes that start at once, as they are forked from one in which the libraries are imported."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "covlayers",
        "matplotlib.figure",
        "pytorch_lightning.cli",
        "skimage.data",
        "sklearn.datasets",
        "sklearn.model_selection",
        "torch._dynamo.backends.common",
        "torch.distributed.tensor.debug",
        "torch.export",
        "torchmetrics.classification",
        "torchvision.transforms.v2",
    ]
)
