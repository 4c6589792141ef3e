"""What each part of ESC-Net contributes, at our scale (the paper's Tables 2 and 3).

    python benchmarks/ablation.py RECIPE ALIGNED --out benchmarks/results/ablation.jsonl

ALIGNED is a checkpoint whose alignment (the map to the joint space) all runs start from; blocks and
decoder start anew, in a stage of whole pictures, with the same data, budget, and seeds. Scores are
those of every third picture
of the recipe's validation folder, or of all with `--every 1`. One JSON line a run; a run whose line
is there is skipped.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from escnet.data.folder import FolderDataset
from escnet.training.recipe import read_recipe
from escnet.training.run import train

VARIANTS: dict[str, tuple[str, ...]] = {
    "pretrained": (),
    "none": ("model.settings.sam=none",),
    "random": ("model.settings.sam=random",),
    "pretrained masks": ("model.settings.sam_masks=true",),
    "random masks": ("model.settings.sam_masks=true", "model.settings.sam=random"),
    "prompts point": ('model.settings.prompts=["point"]',),
    "prompts mask": ('model.settings.prompts=["mask"]',),
    "prompts box": ('model.settings.prompts=["box"]',),
    "prompts box+mask": ('model.settings.prompts=["box","mask"]',),
    "prompts point+box": ('model.settings.prompts=["point","box"]',),
    "prompts point+box+mask": ('model.settings.prompts=["point","box","mask"]',),
    "softmax class": ("model.settings.softmax=class",),
    "merge evidence": ("model.settings.merge=evidence",),
    "threshold 0.5": ("model.settings.threshold=0.5",),
    "blocks 2": ("model.settings.num_blocks=2",),
    "blocks 4": ("model.settings.num_blocks=4",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("aligned")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=1, help="of every variant but its own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--every", type=int, default=3, help="of the pictures to validate on")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of all runs")
    arguments = parser.parse_args()
    whole = read_recipe(arguments.recipe).data.validate_on
    if whole is None:
        parser.error(f"{arguments.recipe} names no data.validate_on")
    common = [
        f"parts.start_from={arguments.aligned}",
        f"stages=[{{kind='network', steps={arguments.steps}, batch_size={arguments.batch_size}}}]",
        f"model.settings.num_blocks={arguments.blocks}",
        *arguments.set,
    ]
    done = finished(arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / f"every-{arguments.every}"
        copy_some(whole, part, arguments.every)
        for seed in arguments.seeds:
            for variant in arguments.variants:
                changes = [*common, *VARIANTS[variant], f"training.seed={seed}"]
                if (variant, changes) in done:
                    continue
                recipe = read_recipe(arguments.recipe, [*changes, f"data.validate_on={part}"])
                run = Path(folder) / "run"
                start = time.monotonic()
                train(recipe, run, cache=arguments.cache)
                record = {
                    "variant": variant,
                    "seed": seed,
                    "changes": changes,
                    "scores": json.loads((run / "scores.json").read_text()),
                    "seconds": round(time.monotonic() - start),
                }
                with arguments.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(record, flush=True)
                shutil.rmtree(run)


def finished(path: Path) -> list[tuple[str, list[str]]]:
    """The variants and changes of the runs whose lines are there."""
    if not path.exists():
        return []
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [(record["variant"], record["changes"]) for record in records]


def copy_some(whole: Path, part: Path, every: int) -> None:
    """Every so many-th picture of a folder dataset, as a folder dataset of its own."""
    for name in ("images", "masks"):
        (part / name).mkdir(parents=True)
    shutil.copy(whole / "classes.json", part / "classes.json")
    for item in list(FolderDataset.read(whole))[::every]:
        shutil.copy(item.image_path, part / "images" / item.image_path.name)
        shutil.copy(item.label_path, part / "masks" / item.label_path.name)


if __name__ == "__main__":
    main()
