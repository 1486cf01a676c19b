"""Videos in files: which of their frames make a clip, and how those are read."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

Samples = list[tuple[str, int]]
"""The files of videos, and their labels."""


def video_decoder() -> Callable[[str], Any]:
    """The decoder of torchcodec, which only videos in files need.

    Raises:
        ImportError: if torchcodec is not installed.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError as error:
        raise ImportError(
            "Videos are read by torchcodec, which is not there: pip install 'covlayers[video]'. It "
            "needs FFmpeg, which comes with the packages of your system."
        ) from error
    return VideoDecoder


def sparse_frames(length: int, count: int, random: bool) -> list[int]:
    """A frame of each of ``count`` equal segments of a video: its middle one, or any.

    Args:
        length: frames of the video; if those are few, some are taken more than once.
        count: number of segments.
        random: whether to draw, from torch's global generator.
    """
    within = torch.rand(count, dtype=torch.double) if random else torch.tensor(0.5)
    frames = ((torch.arange(count) + within) * length / count).long()
    return frames.clamp(max=length - 1).tolist()


class VideoFiles(Dataset):
    """Clips of few frames from the whole length of a video, as in temporal segment networks.

    Args:
        samples: files and labels.
        num_frames: frames of a clip.
        transform: of a clip of bytes, :math:`(T, C, H, W)`.
        random: whether frames are drawn, as for training.
    """

    def __init__(
        self,
        samples: Samples,
        num_frames: int,
        transform: Callable[[Tensor], Tensor],
        random: bool,
    ) -> None:
        self.samples, self.num_frames = samples, num_frames
        self.transform, self.random = transform, random

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        decoder = video_decoder()(path)
        frames = sparse_frames(len(decoder), self.num_frames, self.random)
        return self.transform(decoder.get_frames_at(frames).data), label
