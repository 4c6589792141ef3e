from pathlib import Path

from escnet.inference.label_maps.rest import RestRule
from escnet.inference.segmenter import Segmenter
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.weights.catalog import BUILT_IN_FOLDER
from escnet.weights.checkpoint import write_checkpoint
from tests.mini.conftest import MINI


def test_a_checkpoints_own_share_prior_counts_unless_another_is_asked_for(tmp_path: Path) -> None:
    network = Mini(MiniConfig(**{**MINI, "share_prior": 0.7}))
    write_checkpoint(tmp_path, network, tokenizer_from=BUILT_IN_FOLDER)
    own, none = Segmenter.load(tmp_path), Segmenter.load(tmp_path, share_prior=0.0)
    assert (own.share_prior, none.share_prior) == (0.7, 0.0)
    assert (own.settings["share_prior"], none.settings["share_prior"]) == (0.7, 0.0)


def test_a_checkpoint_says_what_is_the_rest(tmp_path: Path) -> None:
    network = Mini(MiniConfig(**{**MINI, "rest": {"cover": 0.5}}))
    write_checkpoint(tmp_path, network, tokenizer_from=BUILT_IN_FOLDER)
    assert Segmenter.load(tmp_path).rest_rule == RestRule(cover=0.5)
    network = Mini(MiniConfig(**{**MINI, "rest": None}))
    write_checkpoint(tmp_path / "even", network, tokenizer_from=BUILT_IN_FOLDER)
    assert Segmenter.load(tmp_path / "even").rest_rule is None
