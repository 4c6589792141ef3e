"""What the SAM block contributes: mini trained with and without it, same data, budget and seeds.

    python benchmarks/ablation_sam.py RECIPE ALIGNED --out benchmarks/results/ablation-sam.jsonl

ALIGNED is the checkpoint of a run with training.steps = 0; all runs start from its alignment.
Scores are those of every third picture of the recipe's validation folder. One JSON line a run.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from escnet.data.folder import FolderDataset
from escnet.training.config import read_recipe
from escnet.training.run import train

_EVERY = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("aligned")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=["pretrained", "random", "none"])
    arguments = parser.parse_args()
    whole = read_recipe(arguments.recipe).data.validate_on
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "every-third"
        copy_some(whole, part)
        for seed in arguments.seeds:
            for kind in arguments.kinds:
                overrides = [
                    f"model.settings.sam={kind}",
                    f"parts.start_from={arguments.aligned}",
                    f"data.validate_on={part}",
                    "training.alignment_steps=0",
                    f"training.steps={arguments.steps}",
                    f"training.seed={seed}",
                ]
                recipe = read_recipe(arguments.recipe, overrides)
                run = Path(folder) / f"{kind}-{seed}"
                train(recipe, run, cache=arguments.cache)
                scores = json.loads((run / "scores.json").read_text())
                record = {"sam": kind, "seed": seed, "steps": arguments.steps, "scores": scores}
                with arguments.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(record, flush=True)


def copy_some(whole: Path, part: Path) -> None:
    """Every third picture of a folder dataset, as a folder dataset of its own."""
    for name in ("images", "masks"):
        (part / name).mkdir(parents=True)
    shutil.copy(whole / "classes.json", part / "classes.json")
    for item in list(FolderDataset.read(whole))[::_EVERY]:
        shutil.copy(item.image_path, part / "images" / item.image_path.name)
        shutil.copy(item.mask_path, part / "masks" / item.mask_path.name)


if __name__ == "__main__":
    main()
