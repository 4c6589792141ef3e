"""`escnet evaluate --against`: a result beside another one on the same pictures."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from escnet.evaluation.comparison import Comparison, Difference
    from escnet.evaluation.panels import PanelModel
    from escnet.evaluation.result import EvalResult
    from escnet.evaluation.target import EvalTarget
    from escnet.inference.segmenter import Segmenter

_NUM_CLASSES = 3  # printed of each kind


class OtherResult(NamedTuple):
    """Another result and its file."""

    result: "EvalResult"
    path: Path


def read_others(paths: Sequence[Path], targets: "Sequence[EvalTarget]") -> dict[str, OtherResult]:
    """The results to compare with, by the target that they are of.

    Raises:
        ConfigError: If one cannot be read, or is of no target or of other class names.
    """
    from escnet.errors import ConfigError
    from escnet.evaluation.comparison import check_comparable
    from escnet.evaluation.result import EvalResult
    from escnet.files import display_path

    by_name = {target.name: target for target in targets}
    others: dict[str, OtherResult] = {}
    for path in paths:
        result = EvalResult.read(path)
        if result.benchmark not in by_name:
            raise ConfigError(
                f"{display_path(path)} is of {result.benchmark}, which is not evaluated here: "
                f"give a result of {', '.join(by_name)}"
            )
        if result.benchmark in others:
            raise ConfigError(
                f"{display_path(path)} is the second result of {result.benchmark}: "
                "compare with one at a time"
            )
        check_comparable(by_name[result.benchmark], result, path)
        others[result.benchmark] = OtherResult(result, path)
    return others


def print_comparison(
    ours: "EvalResult",
    path: Path,
    other: OtherResult,
    *,
    target: "EvalTarget",
    answers: "PanelModel",
    segmenter: "Segmenter | None",
    num_pictures: int,
) -> None:
    """Write and print how a result differs from another.

    Args:
        ours: The new result.
        path: Its file.
        other: The other result.
        target: What both are of.
        answers: The model that the new one is of, as it was asked.
        segmenter: The same model with its own template; None of label maps on disk.
        num_pictures: How many pictures are drawn.

    Raises:
        ConfigError: If they are of different data.
        OutputError: If a file cannot be written.
    """
    from escnet.evaluation.against import draw_disagreements, write_comparison
    from escnet.evaluation.comparison import compare
    from escnet.files import display_path

    comparison = compare(ours, path, other.result, other.path)
    shown, results = [replace(answers, title="ours")], [ours]
    if num_pictures and (theirs := _their_answers(other.result, segmenter)) is not None:
        shown.append(theirs)
        results.append(other.result)
    out = path.with_suffix(".against.json")
    figures = draw_disagreements(comparison, out, results, target, shown, num_pictures)
    markdown = write_comparison(comparison, out, figures)
    _print(comparison)
    print(f"{display_path(out)}, report {display_path(markdown)}")


def _their_answers(theirs: "EvalResult", segmenter: "Segmenter | None") -> "PanelModel | None":
    """The other result's model, if it is at hand: the same one, or one that needs no download."""
    from escnet.errors import EscnetError
    from escnet.evaluation.model_answers import predict_with, under_protocol
    from escnet.evaluation.panels import PanelModel
    from escnet.inference.methods.model_name import ModelName
    from escnet.inference.segmenter import Segmenter

    name = theirs.model.name
    asked = None if segmenter is None else under_protocol(segmenter, theirs.protocol)
    if asked is None or not _is_model_of(theirs, asked):
        if not ModelName.parse(name).is_at_hand:
            return None
        try:
            prior = theirs.model.settings.get("share_prior", 0.0)
            loaded = Segmenter.load(name, share_prior=prior if isinstance(prior, float) else None)
            asked = under_protocol(loaded, theirs.protocol)
        except EscnetError:  # moved or replaced since: its scores are compared without its answers
            return None
    if not _is_model_of(theirs, asked):
        return None
    predict = predict_with(asked, theirs.protocol)
    return PanelModel(title="theirs", protocol=theirs.protocol, predict=predict)


def _is_model_of(result: "EvalResult", segmenter: "Segmenter") -> bool:
    """Whether the segmenter would answer as the result's did."""
    from escnet.evaluation.model_answers import settings_under

    settings = json.loads(
        json.dumps(settings_under(segmenter, result.protocol))
    )  # as a result's file holds them
    theirs = {
        "share_prior": 0.0,
        "rejection": [],
        **result.model.settings,
    }  # unless it says otherwise
    for one in (settings, theirs):
        one.pop("calibration", None)  # it moves no label
    ours = (segmenter.method.name, segmenter.weights_hash, settings)
    return ours == (result.model.method, result.model.weights_hash, theirs)


def _print(comparison: "Comparison") -> None:
    print(f"against {comparison.theirs}, on the same {len(comparison.pictures)} pictures")
    for setting in comparison.settings:
        print(f"  differs in {setting}")
    for part in comparison.scores:
        print(f"  {part.name:24} {_line(part)}")
    better, worse = comparison.num_better, comparison.num_worse
    print(f"  {better} pictures better, {worse} worse; classes that clearly differ:")
    clear = [part for part in comparison.per_class if part.is_clear]
    clear.sort(key=lambda part: -(part.difference or 0))
    shown = (
        clear if len(clear) <= 2 * _NUM_CLASSES else clear[:_NUM_CLASSES] + clear[-_NUM_CLASSES:]
    )
    for part in shown:
        print(f"    {part.name:22} {_line(part)}")
    if not clear:
        print("    none")


def _line(part: "Difference") -> str:
    from escnet.evaluation.against import points
    from escnet.evaluation.report import percent

    interval = "no interval"  # of too few pictures
    if part.interval is not None:
        low, high = part.interval
        interval = f"{points(low)} to {points(high)}"
    mark = " *" if part.is_clear else ""
    return (
        f"{percent(part.ours):>5} against {percent(part.theirs):>5}: {points(part.difference):>5} "
        f"({interval}){mark}"
    )
