"""VGG-19 as a fixed network: no weight of it learns."""

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of the pixels that its weights were trained with."""

FIRST_RELUS = (1, 6, 11, 20)
"""Its layers ``relu1_1``, ``relu2_1``, ``relu3_1`` and ``relu4_1``."""


class VGG19(nn.Sequential):
    """VGG-19 up to ``relu4_1``, with random weights until others are loaded.

    The rest of it, five sixths of the weights and more, is never allocated.

    Shape:
        - Input: :math:`(N, 3, H, W)` in [0, 1]
        - Output: :math:`(N, 512, H / 8, W / 8)`
    """

    def __init__(self) -> None:
        with torch.device("meta"):
            layers = torchvision.models.vgg19().features[: FIRST_RELUS[-1] + 1]
        layers.to_empty(device=torch.get_default_device())
        super().__init__(*layers)
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        self.requires_grad_(False)

    def load(self, weights: WeightsEnum) -> None:
        """Fetch torchvision's weights and take the weights of the layers that are here."""
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        self.load_state_dict({name: state[f"features.{name}"] for name in self.state_dict()})

    def depths(self, x: Tensor) -> list[Tensor]:
        """The features after the first ReLU at each of four resolutions."""
        mean, std = x.new_tensor((MEAN, STD))[..., None, None]
        x = (x - mean) / std
        features = []
        for index, layer in enumerate(self):
            x = layer(x)
            if index in FIRST_RELUS:
                features.append(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        return self.depths(x)[-1]
