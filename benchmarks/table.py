"""The pages' tables, made from benchmarks/results: `python benchmarks/table.py [--check]`.

Between `<!-- NAME: made by ... -->` and `<!-- end of NAME -->` everything is replaced.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_SOURCES = {"voc20": "VOC subset", "coco80": "COCO-80 subset", "camvid11": "CamVid"}
_FURTHER_SOURCES = {"msrc23": "MSRC", "furniture6": "furniture", "facade8": "facades"}
_PARTS = {
    "pretrained": "points and mask, pretrained SAM block",
    "random": "SAM block with random weights",
    "pretrained masks": "points and mask, pretrained SAM block, with its masks",
    "random masks": "SAM block with random weights, with its masks",
    "none": "no SAM block (correlation, fusion, decoder)",
    "prompts point": "points alone",
    "prompts box": "box alone",
    "prompts mask": "mask alone",
    "prompts point+box": "points and box",
    "prompts box+mask": "box and mask",
    "prompts point+box+mask": "points, box and mask",
    "softmax class": "softmax over the names",
    "merge evidence": "merged by evidence",
    "threshold 0.5": "threshold 0.5",
    "blocks 2": "two ESC-Blocks",
    "blocks 4": "four ESC-Blocks",
}
_BY_NAMES = "ablation-names.jsonl"
_SPEED_IN_SHORT = (
    "vision_tower/vit-b-16",
    "rejecting_forward/vit-b-16/150",
    "rejecting_forward/vit-b-16/847",
    "forward/vit-b-16/20",
    "forward/vit-b-16/150",
    "forward/vit-b-16/847",
    "catseg_forward/vit-b-16/150",
    "catseg_forward/vit-b-16/847",
)
_SAM_DEFAULT = "all and unions, averaged, share by agreement"
_STRUCTURES = {
    "proposals": "(a) SAM's masks, each named by the correlation inside",
    "proposals, crops": "(a) SAM's masks, each named as a picture of its own",
    "correlation": "(b) correlation alone",
    "correlation+sam": "correlation, sharpened by SAM's masks, without training",
    "correlation+sam, share 0.5": "the same, the share of the masks fixed at one half",
    "esc-net": "(c) ESC-Net: `mini`'s trained blocks and decoder",
}
# The paper's Tables 2 and 3, PAS-20b. It has no such row for the others.
_PAPER = {
    "pretrained": (18.1, 41.8, 86.3),
    "random": (5.9, 28.4, 77.2),
    "none": (4.8, 24.2, 74.8),
    "prompts point": (15.2, 37.8, 81.3),
    "prompts box": (14.3, 33.5, 81.4),
    "prompts point+box": (15.1, 38.1, 82.5),
    "prompts box+mask": (17.0, 39.9, 84.2),
    "prompts point+box+mask": (17.6, 41.9, 86.1),
}

# Of the paper's training, on a GPU that does a quarter of the operations a second that an RTX A6000
# can by its data sheet: in bfloat16, and in single precision of 19 bits (TF32).
_STEPS = 80_000
_OPERATIONS_A_SECOND = {"bfloat16": 0.25 * 155e12, "float32": 0.25 * 77e12}


def scores(sources: Mapping[str, str] = _SOURCES) -> str:
    """mIoU of the built-in model, both rules, with intervals.

    Args:
        sources: Of the pictures, and what they are called in the table.
    """
    results = {
        source: json.loads((RESULTS / "mini-dev" / f"{source}.json").read_text())
        for source in sources
    }
    rows = ["| `mini`, whole view | " + " | ".join(sources.values()) + " |", "|---|---|---|---|"]
    for rule, shown in (
        ("miou_in_truth", "mIoU over names in the truth"),
        ("miou_in_either", "mIoU over names in the truth or predicted"),
        ("pixel_accuracy", "pixel accuracy"),
    ):
        values = [_with_interval(results[source], rule) for source in sources]
        rows.append(f"| {shown} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def _with_interval(result: dict, rule: str) -> str:
    value = f"{100 * result['scores'][rule]:.1f}"
    if rule not in result["intervals"]:
        return value
    low, high = result["intervals"][rule]
    return f"{value} ({100 * low:.0f} to {100 * high:.0f})"


def ablation(runs: str = "ablation.jsonl", changes: Sequence[str] = ()) -> str:
    """What each part contributes, mean and spread over seeds, beside the paper's numbers.

    In brackets the difference to the row without a SAM block, of the same seeds.

    Args:
        runs: The file of results.
        changes: Of the runs to show, what they have in common.
    """
    records = [record for record in _lines(runs) if set(changes) <= set(record["changes"])]
    heads = [*_SOURCES.values(), "mean", "seeds", "paper: A-847 / A-150 / PAS-20b"]
    rows = ["| variant | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    found = {
        kind: {record["seed"]: record["scores"] for record in records if record["variant"] == kind}
        for kind in _PARTS
    }
    for kind, shown in _PARTS.items():
        if not found[kind]:
            continue
        cells = []
        for sources in (*((source,) for source in _SOURCES), tuple(_SOURCES)):
            values, bare = (
                [_miou_of(found[one][seed], sources) for seed in found[kind]]
                for one in (kind, "none")
            )
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            change = round(statistics.mean(values) - statistics.mean(bare), 1) + 0.0  # no -0.0
            against = "" if kind == "none" else f" ({change:+.1f})"
            cells.append(f"{statistics.mean(values):.1f}{spread}{against}")
        paper = " / ".join(f"{value:.1f}" for value in _PAPER.get(kind, ())) or "-"
        rows.append(f"| {shown} | " + " | ".join([*cells, str(len(found[kind])), paper]) + " |")
    return "\n".join(rows)


def _miou_of(scores: dict, sources: Sequence[str]) -> float:
    return 100 * statistics.mean(scores[source]["miou_in_truth"] for source in sources)


def speed(scenarios: Sequence[str] = ()) -> str:
    """Median times and peak memory of the standing scenarios, or of some of them."""
    latest = {record["scenario"]: record for record in _lines("speed.jsonl")}
    latest = {name: latest[name] for name in scenarios or latest}
    rows = ["| scenario, 2 processor cores | seconds | peak memory, MB |", "|---|---|---|"]
    for name, record in latest.items():
        seconds = record["seconds"]["median"]
        rows.append(f"| {name} | {seconds:.2f} | {record['peak_megabytes']} |")
    return "\n".join(rows)


def sam_prompts() -> str:
    """What becomes of a noisy map by SAM, for each way and noise level."""
    records = _lines("sam-prompts.jsonl")
    rows = _head("way", records)
    for way in records[0]["iou"]:
        cells = []
        for some in _by_level(records):
            at = _best_threshold(some, way)
            own = statistics.mean(max(record["iou"][way]) for record in some)
            cells.append(f"{_three_scores(some, way, at)} ({own / 1000:.3f})")
        rows.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def sam_prompts_halves() -> str:
    """The map and the default on the half that they were chosen on, and on the other."""
    records = _lines("sam-prompts.jsonl")
    rows = _head("pictures, way", records)
    halves = [[record for record in records if record["half"] == half] for half in (0, 1)]
    for shown, some in zip(("chosen on", "confirmed on"), halves, strict=True):
        for way in ("map", _SAM_DEFAULT):
            cells = []
            for here, first in zip(_by_level(some), _by_level(halves[0]), strict=True):
                cells.append(_three_scores(here, way, _best_threshold(first, way)))
            num = len({record["stem"] for record in some})
            rows.append(f"| {shown}: {num} pictures, {way} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _head(first: str, records: list[dict]) -> list[str]:
    levels = sorted({record["level"] for record in records})
    names = " | ".join(f"noise {level}" for level in levels)
    return [f"| {first} | {names} |", "|---" * (len(levels) + 1) + "|"]


def _by_level(records: list[dict]) -> list[list[dict]]:
    levels = sorted({record["level"] for record in records})
    return [[record for record in records if record["level"] == level] for level in levels]


def _best_threshold(records: list[dict], way: str) -> int:
    """Which threshold is best over all objects."""
    columns = list(zip(*(record["iou"][way] for record in records), strict=True))
    return max(range(len(columns)), key=lambda at: sum(columns[at]))


def _three_scores(records: list[dict], way: str, at: int) -> str:
    found = [record["iou"][way][at] / 1000 for record in records]
    edge = statistics.mean(record["boundary"][way][at] / 1000 for record in records)
    return f"{statistics.mean(found):.3f} / {statistics.median(found):.3f} / {edge:.3f}"


def structures() -> str:
    """The structures of Figure 1 with the same towers."""
    records = _lines("structures.jsonl")
    rows = [
        "| structure | VOC subset | COCO-80 subset | seconds | memory, MB |",
        "|---|---|---|---|---|",
    ]
    for structure, shown in _STRUCTURES.items():
        own = [record for record in records if record["structure"] == structure]
        cells = []
        for source in ("voc20", "coco80"):
            found = [record for record in own if record.get("source") == source]
            cells.append(_accuracy(found[-1]) if found else "-")
        times = [record for record in own if "seconds" in record]
        cells.append(f"{times[-1]['seconds']:.1f}" if times else "-")
        cells.append(str(times[-1]["peak_megabytes"]) if times else "-")
        if own:
            rows.append(f"| {shown} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _accuracy(record: dict) -> str:
    rules = ("miou_in_truth", "miou_in_either", "boundary_iou")
    values = " / ".join(f"{100 * record['scores'][rule]:.1f}" for rule in rules)
    return f"{values} ({record['pictures']} pictures)"


def training_counted() -> str:
    """Operations and memory of one training step of one picture, calculated."""
    rows = [
        "| network / names | operations, 1e12 | weights and their states, GB "
        "| kept for the gradient, GB | with checkpointing: operations, 1e12 | kept, GB | hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in _lines("training-step.jsonl"):
        if record["kind"] != "count":
            continue
        less = record["checkpointing"]
        rate = _OPERATIONS_A_SECOND[record["dtype"]]
        hours = _STEPS * record["step_operations"] / rate / 3600
        cells = [
            f"{record['step_operations'] / 1e12:.2f}",
            f"{record['weight_bytes'] / 1e9:.1f}",
            f"{record['activation_bytes'] / 1e9:.1f}",
            f"{less['step_operations'] / 1e12:.2f}" if less else "-",
            f"{less['activation_bytes'] / 1e9:.1f}" if less else "-",
            f"{hours:.1f}",
        ]
        rows.append(f"| {record['scenario']} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def training_timed() -> str:
    """Processor seconds of a training step, and where they go."""
    parts = ("image tower", "text tower", "blocks", "decoder", "loss", "backward", "optimiser")
    heads = ["pictures", "seconds", *parts, "matrix products", "waiting", "memory, MB"]
    rows = ["| network / names | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for record in _lines("training-step.jsonl"):
        if record["kind"] == "time":
            total = record["seconds"]
            shares = [f"{100 * record['parts'].get(part, 0) / total:.0f} %" for part in parts]
            cells = [
                str(record["pictures_per_step"]),
                f"{total:.1f}",
                *shares,
                f"{100 * record['matrix_products']:.0f} %",
                f"{100 * record['reading'] / total:.0f} %",
                str(record["peak_megabytes"]),
            ]
            rows.append(f"| {record['scenario']} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def formats() -> str:
    """Time and room of each format of results."""
    rows = ["| format | ms a picture | kB a picture |", "|---|---|---|"]
    for record in _lines("formats.jsonl"):
        time, room = record["milliseconds_a_picture"], record["kilobytes_a_picture"]
        rows.append(f"| {record['format']} | {time:.1f} | {room:.1f} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "formats": formats,
    "scores": scores,
    "further scores": lambda: scores(_FURTHER_SOURCES),
    "ablation": ablation,
    "ablation by names": lambda: ablation(
        _BY_NAMES, ["training.steps=100", "model.settings.sam_input=tower"]
    ),
    "ablation by names, joint": lambda: ablation(
        _BY_NAMES, ["training.steps=100", "model.settings.sam_input=joint"]
    ),
    "ablation by names, untrained": lambda: ablation(_BY_NAMES, ["training.steps=0"]),
    "speed": speed,
    "speed in short": lambda: speed(_SPEED_IN_SHORT),
    "sam-prompts": sam_prompts,
    "sam-prompts-halves": sam_prompts_halves,
    "structures": structures,
    "training-counted": training_counted,
    "training-timed": training_timed,
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
