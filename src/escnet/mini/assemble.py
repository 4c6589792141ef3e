"""The built-in model before training, put together from published parts."""

from copy import deepcopy
from pathlib import Path

from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.weights.assemble import with_sam
from escnet.weights.catalog import origin_of
from escnet.weights.install import install_module, install_tower
from escnet.weights.tensor_file import read_tensors, tensor_files_in


def assemble_paired(
    config: MiniConfig,
    *,
    vit: Path,
    efficientnet: Path,
    sentence: Path,
    sam: Path | None,
) -> Mini:
    """A network with the built-in model's towers, before training.

    Args:
        config: Its settings.
        vit: Tensors of a transformers `Dinov2Model`.
        efficientnet: The published EfficientNet-Lite2 for PyTorch.
        sentence: Folder of a transformers `BertModel`, such as all-MiniLM-L6-v2.
        sam: Any published form of SAM; None leaves the SAM blocks random, and the network's
            settings say so.

    Raises:
        WeightsError: If a part is missing, damaged, or of another shape.
        ConfigError: If there is a SAM and the network has no SAM blocks.
    """
    network = Mini(deepcopy(config))
    vision, language = network.vision, network.text
    install_tower(vision.vit, read_tensors(vit), str(vit))
    install_module(vision.net, read_tensors(efficientnet), str(efficientnet))
    sentence_file = tensor_files_in(sentence)[0]
    text = {k: v for k, v in read_tensors(sentence_file).items() if _is_used_of_bert(k)}
    install_tower(language.tower, text, str(sentence_file))
    origins = [
        origin_of(vit, part="ViT-S/14"),
        origin_of(efficientnet, part="EfficientNet-Lite2"),
        origin_of(sentence_file, part="sentence encoder"),
    ]
    with_sam(network, origins, sam)
    return network


def _is_used_of_bert(name: str) -> bool:
    return not name.startswith("pooler.") and not name.endswith("position_ids")
