"""`escnet evaluate`: benchmarks or folders in, scores with everything that moves them out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from escnet.cli.against import print_comparison, read_others
from escnet.cli.bulk import (
    Address,
    Engine,
    Workers,
    segmenter_for_workers,
    workforce_from_options,
)
from escnet.cli.labelled_folder import (
    ClassesFile,
    IdMap,
    Ignore,
    Layout,
    Offset,
    Split,
    ZeroIs,
    folder_options,
    say_reading,
)
from escnet.cli.options import (
    CalibratedBy,
    Device,
    Dtype,
    Limit,
    Model,
    SharePrior,
    Threads,
    check_machine,
)
from escnet.files import display_path

if TYPE_CHECKING:
    from escnet.bulk.cluster import Workforce
    from escnet.data.reading import FolderOptions
    from escnet.evaluation.evaluate import Predict
    from escnet.evaluation.protocol import EvalProtocol
    from escnet.evaluation.result import EvalResult, ModelUsed
    from escnet.evaluation.run import RecordItems, RunProgress
    from escnet.evaluation.target import EvalTarget
    from escnet.inference.segmenter import Segmenter

    Plan = Sequence[tuple[EvalTarget, EvalProtocol]]


def evaluate(  # noqa: PLR0913, PLR0917 -- one argument for each option
    targets: Annotated[
        list[str], typer.Argument(help="Benchmarks such as a-150, or folders with label maps.")
    ],
    data: Annotated[Path | None, typer.Option(help="Folder that holds the targets.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for results and records.")] = Path("evaluation"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an equal run was stopped.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out pictures that cannot be used; list them.")
    ] = False,
    limit: Limit = None,
    view: Annotated[str | None, typer.Option(metavar="whole|windows")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the square that windows are cut from.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Side of a window, in pixels.")] = None,
    overlap: Annotated[
        float | None, typer.Option(help="Share of a window that the next has too.", metavar="P")
    ] = None,
    seams: Annotated[
        str | None, typer.Option(help="Overlapping windows.", metavar="equal|smooth")
    ] = None,
    global_view: Annotated[
        bool | None,
        typer.Option("--global-view/--no-global-view", help="Average with the whole picture."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help='Such as "a photo of a {}".', metavar="TEXT")
    ] = None,
    exact: Annotated[
        bool | None,
        typer.Option(
            "--exact/--no-exact",
            help="Let every name take part in all work, or reject early those that seem to be "
            "nowhere in a picture.",
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            help='How "door, double door" is asked: one string, its first name, or each.',
            metavar="whole|first|first-once|synonyms",
        ),
    ] = None,
    names_file: Annotated[
        Path | None,
        typer.Option(help="Ask for the classes as this names file says (docs: names file)."),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(help="Score the groups of the names file; 1 for the outermost.", metavar="N"),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="Ask about all names, or those in the picture's truth.", metavar="all|present"
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="What counts as background: names of things outside the benchmark, the word "
            "itself, or the model's rest class.",
            metavar="others|name|rest",
        ),
    ] = None,
    headline: Annotated[
        str | None,
        typer.Option(help="Which mean is the result.", metavar="miou_in_truth|miou_in_either"),
    ] = None,
    model: Model = "mini",
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Compare with another result on the same pictures; repeatable.",
            metavar="RESULT.json",
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(help="Best and worst pictures in the report.", metavar="N", min=0)
    ] = 4,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Score the label maps in this folder; no model is loaded.", metavar="FOLDER"
        ),
    ] = None,
    layout: Layout = None,
    split: Split = None,
    classes_file: ClassesFile = None,
    ignore: Ignore = None,
    zero_is: ZeroIs = None,
    offset: Offset = None,
    id_map: IdMap = None,
    share_prior: SharePrior = None,
    calibration: CalibratedBy = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    engine: Engine = "local",
    address: Address = None,
    workers: Workers = None,
) -> None:
    """Score a model, or label maps on disk, against pictures with label maps.

    A TARGET is a benchmark, whose protocol is the paper's unless an option below says otherwise, or
    a folder of pictures with label maps as tools write them (docs: reading folders), seen as a
    whole. If its classes.json names several sources, each is scored by itself; --background rest
    scores only those that label pixels of no class, and counts these as one more class.
    OUT/NAME.json is the result, OUT/NAME.html and OUT/NAME.md its report, OUT/NAME.pictures.jsonl
    what was counted in each picture. With --predictions the label maps in a folder are scored,
    whichever program or person made them, and NAME ends with that folder's. Start it with torchrun
    or accelerate launch to share the work among processes or GPUs.
    """
    from escnet.errors import ConfigError

    check_machine(device, dtype, threads)
    changes = {
        "view": view, "size": size, "window": window, "overlap": overlap,
        "seams": seams, "global_view": global_view, "template": template, "exact": exact,
        "names": names,
        "vocabulary": vocabulary, "background": background, "headline": headline,
    }  # fmt: skip
    options = folder_options(
        layout=layout,
        split=split,
        classes_file=classes_file,
        ignore=ignore,
        zero_is=zero_is,
        offset=offset,
        id_map=id_map,
    )
    with_background = background in {"name", "rest"}
    eval_targets = [
        target
        for name in targets
        for target in _targets(name, data, options, with_background=with_background)
    ]
    _refuse_repeats(eval_targets)
    eval_targets = _by_names_file(eval_targets, changes, names_file, level)
    plan = [(target, _protocol(target, changes)) for target in eval_targets]
    _refuse_idle(plan, changes, share_prior)
    others = read_others(against or [], eval_targets)
    workforce = workforce_from_options(engine, address, workers, threads, device)
    if predictions is not None:
        _refuse_asking({**changes, "share_prior": share_prior, "calibration": calibration})
        if workforce is not None:
            raise ConfigError("--predictions asks no model: leave --engine ray out")

    from escnet.evaluation.panels import PanelModel
    from escnet.evaluation.processes import joined_processes
    from escnet.evaluation.report import draw_pictures, write_report
    from escnet.evaluation.run import Evaluation

    with joined_processes() as processes:
        if predictions is None:
            loading = {
                "device": device,
                "dtype": dtype,
                "share_prior": share_prior,
                "calibration": calibration,
            }
            answerers = _models(plan, model, loading, threads, for_workers=workforce is not None)
        else:
            answerers = _label_maps(plan, predictions, limit=limit, skip_bad=skip_bad)
        for answerer in answerers:
            target = answerer.target
            evaluation = Evaluation(
                target=target,
                model=answerer.model,
                predict=answerer.predict,
                protocol=answerer.protocol,
                out=out,
                limit=limit,
                skip_bad=skip_bad,
                processes=processes,
                suffix=answerer.suffix,
                record_items=_by_workers(answerer, workforce, skip_bad=skip_bad),
            )
            total = len(evaluation.items[processes.rank :: processes.count])
            with _progress(target.name, total, is_shown=processes.is_first) as on_picture:
                result = evaluation.run(resume=resume, on_picture=on_picture)
            if result is None:
                continue
            path = evaluation.result_path
            answers = PanelModel(
                title="prediction", protocol=answerer.protocol, predict=evaluation.predict
            )
            draw_pictures(result, path, target, answers, pictures)
            _print_result(result, path, write_report(result, path)[1])
            if (other := others.get(target.name)) is not None:
                print_comparison(
                    result,
                    path,
                    other,
                    target=target,
                    answers=answers,
                    segmenter=answerer.segmenter,
                    num_pictures=pictures,
                )


class _Answerer(NamedTuple):
    """What answers for a target's pictures: a model, or label maps on disk."""

    target: "EvalTarget"
    protocol: "EvalProtocol"
    model: "ModelUsed"
    predict: "Predict"
    segmenter: "Segmenter | None" = None
    suffix: str = ""


def _by_workers(
    answerer: _Answerer, workforce: "Workforce | None", *, skip_bad: bool
) -> "RecordItems | None":
    """What makes the records on a cluster; None for this process."""
    if workforce is None or answerer.segmenter is None or answerer.segmenter.reference is None:
        return None
    from escnet.bulk.evaluation import EvaluationTask, records_by_workers

    task = EvaluationTask(
        target=answerer.target,
        protocol=answerer.protocol,
        reference=answerer.segmenter.reference,
        skip_bad=skip_bad,
    )
    return lambda items: records_by_workers(items, task, workforce)


def _models(
    plan: "Plan", model: str, loading: dict[str, Any], threads: int | None, *, for_workers: bool
) -> "Iterator[_Answerer]":
    """A model as each target's protocol asks it."""
    from escnet.evaluation.model_answers import predict_with, under_protocol
    from escnet.inference.segmenter import Segmenter

    if for_workers:
        segmenter = segmenter_for_workers(model, **loading)
    else:
        segmenter = Segmenter.load(model, threads=threads, **loading)
    for target, protocol in plan:
        asked = under_protocol(segmenter, protocol)
        used = _model_used(asked, protocol, _trained_on(segmenter))
        yield _Answerer(target, protocol, used, predict_with(asked, protocol), segmenter)


def _label_maps(
    plan: "Plan", folder: Path, *, limit: int | None, skip_bad: bool
) -> "Iterator[_Answerer]":
    """The label maps in a folder; what the protocol says of asking does not apply to them."""
    from escnet.evaluation.predictions import PredictedFolder

    targets = [target for target, _ in plan]
    predicted = PredictedFolder(folder, targets, limit=limit, may_lack=skip_bad)
    print(f"{display_path(folder)} holds predictions, values {predicted.values}", file=sys.stderr)
    for target, protocol in plan:
        given = protocol.with_changes(
            view="whole",
            names="whole",
            vocabulary="all",
            background="name" if target.has_background else "none",
        )
        target = replace(target, paper=given)  # noqa: PLW2901 -- nothing of asking deviates
        yield _Answerer(
            target,
            given,
            predicted.model_of(target),
            predicted.predict(target),
            suffix=f"-{folder.resolve().name}",
        )


def _refuse_asking(asking: dict[str, Any]) -> None:
    """Refuse settings of how a model is asked: label maps are not asked."""
    from escnet.errors import ConfigError

    allowed = {"headline", "background"}
    for name, value in asking.items():
        if value is not None and name not in allowed:
            raise ConfigError(
                f"--{name.replace('_', '-')} says how a model is asked, but --predictions asks "
                "none: leave one of them out"
            )


def _targets(
    name: str, data: Path | None, options: "FolderOptions", *, with_background: bool
) -> "list[EvalTarget]":
    from escnet.data.folder import FolderDataset
    from escnet.data.reading import FolderOptions
    from escnet.errors import ConfigError
    from escnet.evaluation.benchmarks import BENCHMARKS
    from escnet.evaluation.target import folder_targets

    path = Path(name)
    if data is not None and not path.exists():
        path = data / name
    if name in BENCHMARKS and not (path / "classes.json").is_file():
        if options != FolderOptions():
            raise ConfigError(
                f"benchmark {name} has its own layout and label values: leave --layout, --split, "
                "--classes-file, --ignore, --zero-is, --offset and --id-map out"
            )
        if data is None:
            raise ConfigError(
                f"benchmark {name} needs its pictures: pass --data ROOT, the folder that "
                "`escnet data prepare` wrote"
            )
        return [BENCHMARKS[name].read(data)]
    if not path.exists():
        raise ConfigError(
            f"no folder or benchmark {name!r}: choose a folder of pictures with label maps, or one "
            f"of {', '.join(BENCHMARKS)}"
        )
    dataset = FolderDataset.read(path, options)
    say_reading(dataset)
    return folder_targets(dataset, with_background=with_background)


def _by_names_file(
    targets: "list[EvalTarget]", changes: dict[str, Any], names_file: Path | None, level: int | None
) -> "list[EvalTarget]":
    """The targets as a names file asks for them; what the protocol says of it joins the changes."""
    from hashlib import sha256

    from escnet.cli.options import vocabulary_in
    from escnet.errors import ConfigError
    from escnet.evaluation.asked_target import asked_by

    if names_file is None and level is None:
        return targets
    if names_file is None:
        raise ConfigError(f"--level {level} needs groups: pass them by --names-file")
    names = vocabulary_in(names_file)
    changes |= {"names_file": sha256(names.to_toml()).hexdigest(), "level": level}
    return [asked_by(target, names, level or 0) for target in targets]


def _refuse_repeats(targets: "list[EvalTarget]") -> None:
    from escnet.errors import ConfigError

    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{name} is evaluated twice, and both results would be {name}.json: "
                "run them one by one, each with its own --out"
            )


def _protocol(target: "EvalTarget", changes: dict[str, Any]) -> "EvalProtocol":
    return target.paper.with_changes(**changes)


def _refuse_idle(plan: "Plan", changes: dict[str, Any], share_prior: float | None) -> None:
    """Refuse what a target cannot be asked, and settings that would do nothing.

    The settings are those of windows where a target is seen as a whole, or the other way round.
    """
    from escnet.errors import ConfigError
    from escnet.evaluation.protocol import OF_WINDOWS
    from escnet.evaluation.target import Question

    if share_prior and any(protocol.view == "windows" for _, protocol in plan):
        raise ConfigError(
            f"--share-prior {share_prior:g} needs pictures seen as a whole: add --view whole"
        )
    for target, protocol in plan:
        Question(target, protocol)  # refuses what cannot be asked, before a model is loaded
        for name in OF_WINDOWS if protocol.view == "whole" else ():
            if (value := changes[name]) is not None:
                option = name.replace("_", "-")
                if isinstance(value, bool):
                    shown = f"--{option}" if value else f"--no-{option}"
                else:
                    shown = f"--{option} {value}"
                raise ConfigError(
                    f"{shown} needs windows, but {target.name} is seen as a whole: "
                    "add --view windows, or leave it out"
                )


def _model_used(
    segmenter: "Segmenter", protocol: "EvalProtocol", trained_on: list[str] | None
) -> "ModelUsed":
    from escnet.evaluation.model_answers import settings_under
    from escnet.evaluation.result import ModelUsed

    return ModelUsed(
        name=segmenter.model,
        method=segmenter.method.name,
        weights_hash=segmenter.weights_hash,
        settings=settings_under(segmenter, protocol),
        trained_on=trained_on,
    )


def _trained_on(segmenter: "Segmenter") -> list[str] | None:
    """Class names that the model says it has seen labelled; None if it does not say."""
    network = getattr(segmenter.method, "network", None)  # only trained methods have one
    names = getattr(getattr(network, "config", None), "trained_on", None)
    return list(names) if names else None


@contextmanager
def _progress(
    name: str, total: int, *, is_shown: bool
) -> "Iterator[Callable[[RunProgress], None]]":
    from escnet.cli.progress import PicturePace, progress_display

    class ScoredPace(PicturePace):
        miou = float("nan")

        def __str__(self) -> str:
            return f"{super().__str__()}, {name} mIoU so far {100 * self.miou:.1f}"

    pace = ScoredPace(total)
    with progress_display(total if is_shown else 0, pace) as show:

        def on_picture(progress: "RunProgress") -> None:
            pace.miou = progress.miou
            show(progress)

        yield on_picture


def _print_result(result: "EvalResult", path: Path, report: Path) -> None:
    print(f"{result.benchmark}: {result.data.num_pictures} pictures, {result.model.name}")
    for name, value in result.scores.items():
        if value is None:
            continue
        low, high = result.intervals.get(name, (value, value))
        mark = " *" if name == result.protocol.headline else ""
        print(f"  {name:24} {100 * value:5.1f}  ({100 * low:.1f} to {100 * high:.1f}){mark}")
    if result.calibration is not None:
        error = 100 * result.calibration.calibration_error
        print(f"  {'calibration error':24} {error:5.1f}  (of confidence, docs: scores)")
    for deviation in result.deviations:
        print(f"  not the benchmark's own protocol: {deviation}")
    if result.skipped:
        print(f"  {len(result.skipped)} pictures skipped, the first: {result.skipped[0].reason}")
    print(f"{display_path(path)}, report {display_path(report)}")
