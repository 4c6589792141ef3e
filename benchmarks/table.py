"""The pages' tables, made from benchmarks/results: `python benchmarks/table.py [--check]`.

Between `<!-- NAME: made by ... -->` and `<!-- end of NAME -->` everything is replaced.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "mini.md", ROOT / "docs" / "results.md")

_SOURCES = {"voc20": "VOC subset", "coco80": "COCO-80 subset", "camvid11": "CamVid"}
_SAM = {
    "pretrained": "pretrained SAM block",
    "random": "SAM block with random weights",
    "none": "no SAM block (correlation, fusion, decoder)",
}


def scores() -> str:
    """mIoU of the built-in model, both rules."""
    record = _lines("mini-dev.jsonl")[-1]
    rows = ["| `mini`, whole view | " + " | ".join(_SOURCES.values()) + " |", "|---|---|---|---|"]
    for rule, shown in (
        ("miou_in_truth", "mIoU over names in the truth"),
        ("miou_in_either", "mIoU over names in the truth or predicted"),
        ("pixel_accuracy", "pixel accuracy"),
    ):
        values = [f"{100 * record['scores'][source][rule]:.1f}" for source in _SOURCES]
        rows.append(f"| {shown} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def ablation() -> str:
    """What the SAM block contributes, mean and spread over seeds."""
    records = [record for record in _lines("ablation.jsonl") if record["variant"] in _SAM]
    seeds = len({record["seed"] for record in records})
    rows = [f"| {seeds} seeds | " + " | ".join(_SOURCES.values()) + " |", "|---|---|---|---|"]
    for kind, shown in _SAM.items():
        cells = []
        for source in _SOURCES:
            values = [
                100 * record["scores"][source]["miou_in_truth"]
                for record in records
                if record["variant"] == kind
            ]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        rows.append(f"| {shown} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def speed() -> str:
    """Median times and peak memory of the standing scenarios."""
    latest = {record["scenario"]: record for record in _lines("speed.jsonl")}
    rows = ["| scenario, 2 processor cores | seconds | peak memory, MB |", "|---|---|---|"]
    for name, record in latest.items():
        seconds = record["seconds"]["median"]
        rows.append(f"| {name} | {seconds:.2f} | {record['peak_megabytes']} |")
    return "\n".join(rows)


def sam_prompts() -> str:
    """What becomes of a noisy map by SAM, for each way and noise level."""
    records = _lines("sam-prompts.jsonl")
    levels = sorted({record["level"] for record in records})
    heads = [f"noise {level}" for level in levels]
    rows = ["| way | " + " | ".join(heads) + " |", "|---" * (len(levels) + 1) + "|"]
    for way in records[0]["iou"]:
        cells = []
        for level in levels:
            some = [record for record in records if record["level"] == level]
            columns = list(zip(*(record["iou"][way] for record in some), strict=True))
            best = max(range(len(columns)), key=lambda at, c=columns: sum(c[at]))
            edge = statistics.mean(record["boundary"][way][best] for record in some)
            own = statistics.mean(max(record["iou"][way]) for record in some)
            mean, median = statistics.mean(columns[best]), statistics.median(columns[best])
            cells.append(f"{mean:.3f} / {median:.3f} / {edge:.3f} ({own:.3f})")
        rows.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "scores": scores,
    "ablation": ablation,
    "speed": speed,
    "sam-prompts": sam_prompts,
}


def filled(text: str) -> str:
    """A page with every table made anew."""
    for name, make in TABLES.items():
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
        text = re.sub(
            pattern,
            lambda match, make=make: match[1] + make() + "\n" + match[2],
            text,
            flags=re.DOTALL,
        )
    return text


def _lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (RESULTS / name).read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page would change")
    arguments = parser.parse_args()
    for page in PAGES:
        before = page.read_text()
        after = filled(before)
        if arguments.check and after != before:
            sys.exit(f"{page.name} is stale: run python benchmarks/table.py")
        page.write_text(after)


if __name__ == "__main__":
    main()
