"""Augmentation of a batch on its own device: every image moves alone.

The random numbers come from torch's global generator, which ``EpochSeed`` sets anew every epoch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_shift(images: Tensor, pixels: int) -> Tensor:
    """Shift each image by up to ``pixels`` in both directions; zeros come in at the border.

    Args:
        images: a batch, :math:`(N, C, H, W)`.
        pixels: the largest shift.
    """
    N, _, H, W = images.shape
    padded = F.pad(images, (pixels, pixels, pixels, pixels))
    top, left = torch.randint(2 * pixels + 1, (2, N, 1), device=images.device)
    rows = top + torch.arange(H, device=images.device)  # (N, H)
    columns = left + torch.arange(W, device=images.device)  # (N, W)
    batch = torch.arange(N, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def random_flip(images: Tensor) -> Tensor:
    """Mirror each image, left to right, with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(-1), images)
