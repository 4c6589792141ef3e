"""Which type a label map has: the smallest that holds its names and void.

Void is the largest value of the type.
"""

import numpy as np

MOST_NAMES_IN_8_BITS = 254


def label_dtype(num_names: int) -> type[np.uint8 | np.uint16]:
    """The type of a label map.

    Args:
        num_names: Those of the result, the rest class among them.
    """
    return np.uint8 if num_names <= MOST_NAMES_IN_8_BITS else np.uint16
