"""Layers as one writes them by hand from the papers: every step in the graph, every copy kept."""

import torch
from torch import Tensor, nn

from benchmarks.published import Root, iter_norm


class TextbookIterNorm(nn.Module):
    """Transpose, centre, five Newton-Schulz steps, transpose back."""

    def __init__(self, channels: int, group_size: int, eps: float) -> None:
        super().__init__()
        self.group_size = group_size
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels_first = x.transpose(0, 1).contiguous()
        rows = channels_first.view(-1, self.group_size, x.numel() // x.shape[1])
        centred = rows - rows.mean(-1, keepdim=True)
        identity = torch.eye(self.group_size, device=x.device)
        cov = centred @ centred.mT / centred.shape[-1] + self.eps * identity
        white = (iter_norm(cov) @ centred).view_as(channels_first).transpose(0, 1).contiguous()
        return white * self.weight + self.bias


class TextbookPool(nn.Module):
    """A root of the covariance, centred by an M x M matrix, and its upper triangle."""

    def __init__(self, root: Root) -> None:
        super().__init__()
        self.root = root

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        N, C, M = x.shape
        centring = (torch.eye(M, device=x.device) - 1 / M) / M
        A = x @ centring.expand(N, M, M) @ x.mT
        rows, columns = torch.triu_indices(C, C, device=x.device)
        return self.root(A)[:, rows, columns]
