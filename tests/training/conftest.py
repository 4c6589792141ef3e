"""What the tests of training share."""

from tests.training_data import (
    captions_folder,
    data_folder,
    make_pictures_recipe,
    make_recipe,
    parts_folder,
)

__all__ = [
    "captions_folder",
    "data_folder",
    "make_pictures_recipe",
    "make_recipe",
    "parts_folder",
]
