"""How many class names fit into a memory budget at once.

Everything that the network does for each class is done in chunks (`model/chunks.py`); the sizes of
the tensors that live at the same time follow from the settings alone.
"""

from escnet.model.config import EscNetConfig
from escnet.model.mask_head import NUM_MASKS

DEFAULT_BUDGET = 256 * 2**20  # bytes of working memory for the class chunks of one picture
# Larger chunks fall out of the processor's caches and gain nothing (benchmarks/results).
_MOST_CLASSES = 32
_BYTES = 4


def bytes_per_class(config: EscNetConfig) -> int:
    """Working memory that one class name of one picture needs at the widest place, in bytes."""
    patches = config.grid_size**2
    # SAM block: the class's patches before and after a layer, and its scores both ways.
    num_tokens = 6 + 2 * config.regions_per_class
    sam = patches * (3 * config.sam_dim + 3 * 8 * num_tokens)
    if config.sam_masks:  # The patches enlarged to twice and to four times, each before and after.
        sam += patches * (4 * config.sam_dim + 2 * 16 * NUM_MASKS)
    # Fusion: the state, its queries, keys and values twice (windows are a copy), the inner layer.
    fusion = patches * config.hidden_dim * (8 + 2 * config.ffn_ratio)
    # Decoder: the finest stage, before and after a convolution and its norm.
    decoder = 16 * patches * 4 * max(config.decoder_dims[1], config.decoder_dims[0] // 4)
    return _BYTES * max(sam, fusion, decoder)


def class_chunk(
    config: EscNetConfig, *, budget: int = DEFAULT_BUDGET, num_pictures: int = 1
) -> int:
    """The number of class names to work on at a time; at least 1.

    Args:
        config: The network's settings.
        budget: Bytes of working memory, beyond the weights and what is kept for every class.
        num_pictures: Pictures in the batch.
    """
    fitting = budget // (bytes_per_class(config) * num_pictures)
    return max(1, min(_MOST_CLASSES, fitting))
