"""What the SAM block contributes: mini trained with and without it, same data, budget and seeds.

    python benchmarks/ablation_sam.py RECIPE ALIGNED --out benchmarks/results/ablation-sam.jsonl

ALIGNED is the checkpoint of a run with training.steps = 0; all runs start from its alignment. One JSON
line a run.
"""

import argparse
import json
import tempfile
from pathlib import Path

from escnet.training.config import read_recipe
from escnet.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("aligned")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=["pretrained", "none"])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for kind in arguments.kinds:
            overrides = [
                f"model.settings.sam={kind}",
                f"parts.start_from={arguments.aligned}",
                "training.alignment_steps=0",
                f"training.steps={arguments.steps}",
                f"training.seed={seed}",
            ]
            recipe = read_recipe(arguments.recipe, overrides)
            with tempfile.TemporaryDirectory() as folder:
                train(recipe, Path(folder), cache=arguments.cache)
                scores = json.loads((Path(folder) / "scores.json").read_text())
            record = {"sam": kind, "seed": seed, "steps": arguments.steps, "scores": scores}
            with arguments.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(kind, seed, {name: score["miou_in_truth"] for name, score in scores.items()})


if __name__ == "__main__":
    main()
