"""Makes the picture at the top of README.md: a photograph and its overlay, side by side.

Run it in the repository's root whenever colours, the overlay or the built-in model change:

    python docs/first_look.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

from escnet import Segmenter
from escnet.annotations.overlay import draw_overlay
from escnet.data.image import read_image

ROOT = Path(__file__).parents[1]
GAP = 12  # pixels between the two

picture = read_image(ROOT / "examples" / "demo" / "cow.jpg")
result = Segmenter.load().segment(picture, ["cow", "grass", "tree", "sky"])
overlay = draw_overlay(picture, result.label_map, result.names)

height, width = picture.shape[:2]
both = np.full((len(overlay), width + GAP + overlay.shape[1], 3), 255, np.uint8)
both[:height, :width] = picture
both[:, width + GAP :] = overlay
Image.fromarray(both).save(ROOT / "docs" / "first-look.jpg", quality=90)
