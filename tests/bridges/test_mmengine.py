from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.segmentation import Segmentation, save_all

mmengine = pytest.importorskip("mmengine.config", reason="mmengine is not installed here")


def test_the_config_s_data_set_is_there(results: list[Segmentation], tmp_path: Path) -> None:
    save_all(results, tmp_path, ["mmseg"])
    config = mmengine.Config.fromfile(str(tmp_path / "mmseg" / "dataset.py"))
    assert tuple(config.metainfo.classes) == results[0].names
    assert len(config.metainfo.palette) == len(results[0].names)
    root = Path(config.dataset.data_root)
    prefix = config.dataset.data_prefix
    for result in results:
        assert (root / prefix.img_path / f"{result.stem}{config.dataset.img_suffix}").is_file()
        path = root / prefix.seg_map_path / f"{result.stem}{config.dataset.seg_map_suffix}"
        with Image.open(path) as image:
            assert image.mode == "L"  # read alike by every back end
            np.testing.assert_array_equal(np.asarray(image), result.label_map)
