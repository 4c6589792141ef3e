"""The tiny network with the built-in model's towers."""

from escnet.model.config import preset

_NOT_ITS_OWN = ("model_type", "towers", "transformers_version")

_PAPERS = preset("tiny").to_dict()

# Settings of a tiny network of the built-in model's kind, without the parts behind the decoder.
MINI = {name: value for name, value in _PAPERS.items() if name not in _NOT_ITS_OWN} | {
    "vision_config": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "image_size": 28, "patch_size": 14},
    "text_config": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                    "intermediate_size": 32, "vocab_size": 300},
    "layers": [1, 2],
    "head_dim": 8,
    "image_size": 64,
    "patch_size": 16,
    "upsampling": "bilinear",
    "presence": False,
    "detail": False,
    "share_prior": 0.0,
}  # fmt: skip
