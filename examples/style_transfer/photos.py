"""The photographs that come with scikit-image and scikit-learn: nothing is downloaded."""

from collections.abc import Callable

import numpy as np
import skimage.data
from skimage.color import gray2rgb


def sample(name: str) -> Callable[[], np.ndarray]:
    """The loader of one of scikit-learn's two; the library is imported when it is called."""

    def load() -> np.ndarray:
        from sklearn.datasets import load_sample_image

        return load_sample_image(name)

    return load


def grey(load: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """The loader of a grey photograph, as three equal channels."""
    return lambda: gray2rgb(load())


PHOTOS: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": skimage.data.astronaut,
    "brick": grey(skimage.data.brick),
    "cat": skimage.data.cat,
    "china": sample("china.jpg"),
    "coffee": skimage.data.coffee,
    "flower": sample("flower.jpg"),
    "galaxies": skimage.data.hubble_deep_field,
    "grass": grey(skimage.data.grass),
    "gravel": grey(skimage.data.gravel),
    "retina": skimage.data.retina,
    "rocket": skimage.data.rocket,
    "tissue": skimage.data.immunohistochemistry,
}
"""Functions without arguments that return bytes :math:`(H, W, 3)`."""

ATTRIBUTION = {
    "astronaut": "Eileen Collins, NASA Great Images, flic.kr/p/r9qvLn; public domain",
    "brick": "CC0Textures, cc0textures.com/view.php?tex=Bricks25; CC0",
    "cat": "Stefan van der Walt; CC0",
    "china": "danielbuechele, flickr.com/photos/danielbuechele/6061409035; CC BY 2.0",
    "coffee": "Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0",
    "flower": "vultilion, flickr.com/photos/vultilion/6056698931 (scikit-learn's text names "
    "danielbuechele beside that address); CC BY 2.0",
    "galaxies": "Hubble eXtreme Deep Field, NASA, HubbleSite news release 2012-37; free to use",
    "grass": "linolafett, deviantart.com/linolafett/art/Grass-01-434853879; CC0",
    "gravel": "CC0Textures, cc0textures.com/view.php?tex=Gravel04; CC0",
    "retina": "Häggström, WikiJournal of Medicine 1 (2), doi:10.15347/wjm/2014.008; CC0",
    "rocket": "SpaceX, flickr.com/photos/spacexphotos/16511594820; public domain",
    "tissue": "Center for Microscopy and Molecular Imaging; no known copyright restrictions",
}
"""Author, place and licence, as scikit-image's and scikit-learn's documentation has them."""
