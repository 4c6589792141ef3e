"""Cut one thing out of a picture: its pixels stay, the others become transparent.

python examples/cut_out.py examples/coffee.jpg "cup=cup|coffee cup" cup.png
"""

import sys

import numpy as np
from PIL import Image

from escnet import Segmenter, Vocabulary
from escnet.data.image import read_image


def main() -> None:
    source, thing, target = sys.argv[1:]
    picture = read_image(source)  # (height, width, 3), as a viewer shows it
    vocabulary = Vocabulary.parse(thing, has_background=True)
    result = Segmenter.load().segment(picture, vocabulary)
    opacity = np.where(result.mask(vocabulary.labels[0]), 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([picture, opacity])).save(target)


if __name__ == "__main__":
    main()
