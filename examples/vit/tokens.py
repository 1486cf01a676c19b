"""Which tokens a trained vision transformer goes by."""

import torch
from torch import Tensor

from network import VisionTransformer


@torch.no_grad()
def class_attention(network: VisionTransformer, inputs: Tensor) -> Tensor:
    """The attention that the class token pays each visual token in the last block, ``(N, M)``.

    It is the mean over the heads; with what the class token pays itself it adds up to 1.
    """
    last = network.blocks[-1]
    tokens = last.norm1(network.blocks[:-1](network.embed(inputs)))
    _, attention = last.self_attn(tokens, tokens, tokens)
    return attention[:, 0, 1:]


@torch.no_grad()
def support(network: VisionTransformer, inputs: Tensor) -> Tensor:
    """What each visual token adds to the predicted logit above the mean logit, ``(N, M)``.

    The token is withheld from the head alone; the class token and the others have seen it.
    """

    def logits(tokens: Tensor) -> Tensor:
        of_all = network.head(tokens)
        return of_all - of_all.mean(-1, keepdim=True)

    tokens = network.tokens(inputs)
    whole, predicted = logits(tokens).max(-1, keepdim=True)
    without = [
        logits(torch.cat([tokens[:, :index], tokens[:, index + 1 :]], 1)).gather(1, predicted)
        for index in range(1, tokens.shape[1])
    ]
    return whole - torch.cat(without, 1)
