"""`escnet names`: what a list of class names says, and what to mend in it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.options import (
    AsJson,
    Background,
    Device,
    Limit,
    MaxPixels,
    Model,
    Recursive,
    Sources,
    Threads,
    check_machine,
    verb_group,
    vocabulary_in,
    without_results,
)
from escnet.data.limits import MAX_PIXELS

if TYPE_CHECKING:
    from escnet.class_lists.class_list import ClassList
    from escnet.class_lists.findings import Finding
    from escnet.inference.names.name_trial import Trial
    from escnet.vocabulary import Vocabulary

app = verb_group("Look at lists of class names.")


@app.callback()
def _names() -> None:
    """Look at lists of class names."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The class list, of any kind that is read.")],
    model: Model = "mini",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Tell how a class list is read, and what is doubtful in it, one line each.

    Doubles, names that are one to the model or that it cannot read, glued and unknown words, plural
    pairs, lists in one name, rest classes that are asked as a word. The exit code is 1 where there
    are errors, which stop other commands, and 0 where there are warnings alone. The model is loaded
    only if the list has no errors.
    """
    from escnet.class_lists.class_list import display_text
    from escnet.class_lists.file import read_text
    from escnet.class_lists.findings import Finding, check_groups, check_words
    from escnet.class_lists.read import recognise
    from escnet.errors import VocabularyError
    from escnet.files import display_path
    from escnet.vocabulary import vocabulary_and_faults

    text = read_text(file)
    class_list, vocabulary = None, None
    try:
        class_list = recognise(text, display_path(file))
        vocabulary, faults = vocabulary_and_faults(class_list)
    except VocabularyError as error:
        faults = [error]
    findings = [Finding("error", "unreadable", (), str(fault)) for fault in faults]
    if vocabulary is not None:
        findings += check_words(vocabulary.queries_by_label)
        findings += check_groups(vocabulary.paths, [group.name for group in vocabulary.groups])
    if vocabulary is not None and not faults:
        from escnet.inference.names.name_check import check_with_model
        from escnet.inference.segmenter import Segmenter

        findings += check_with_model(Segmenter.load(model, device=device), vocabulary)
    if as_json:
        _print_json(file, class_list, vocabulary, findings)
    else:
        if class_list is not None:
            print(class_list.summary())
        for label, queries in (vocabulary.queries_by_label if vocabulary else {}).items():
            asked = "" if queries == (label,) else f" = {' | '.join(queries)}"
            print(f"  {display_text(label, quoted=False)}{asked}")
        for finding in findings:
            print(f"{finding.level}: {finding.message}")
        if not findings:
            print("nothing to mend")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@app.command(name="try")
def try_(  # noqa: PLR0913, PLR0917 -- one argument for each option
    file: Annotated[Path, typer.Argument(help="The class list, of any kind that is read.")],
    sources: Sources,
    out: Annotated[Path, typer.Option(help="Folder for names.html and names.json.")] = Path(),
    background: Background = False,
    void_below: Annotated[
        float, typer.Option(help="Leave pixels below this confidence unlabelled.", metavar="P")
    ] = 0.0,
    suggest: Annotated[
        bool,
        typer.Option("--suggest/--no-suggest", help="Try other words, too, which takes longer."),
    ] = True,
    recursive: Recursive = False,
    limit: Limit = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    model: Model = "mini",
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Try names on pictures that nobody has labelled.

    Prints each label's share of all pixels and confidence, where it nearly wins, and what it is
    mixed up with. OUT/names.html has a sheet for each label, OUT/names.json the numbers. Other
    words are tried for each label, and told where they cover better what most words for it agree
    on. Pictures that cannot be read do not stop the others; the exit code is 1 then.
    """
    from escnet.annotations.json_text import to_marked_json
    from escnet.data.picture_search import find_images
    from escnet.files import check_replaceable, display_path, make_folder, write_file
    from escnet.inference.methods.model_name import ModelName
    from escnet.inference.names.name_trial import as_table, try_names
    from escnet.inference.names.suggestions import Synonyms
    from escnet.inference.names.trial_page import trial_page
    from escnet.inference.options import SegmentOptions
    from escnet.inference.segmenter import Segmenter

    vocabulary = vocabulary_in(file, background=background)
    options = SegmentOptions(void_below=void_below, max_pixels=max_pixels)
    ModelName.parse(model)
    check_machine(device, "float32", threads)
    pictures = without_results(find_images(sources, recursive=recursive), sources)[:limit]
    page, numbers = out / "names.html", out / "names.json"
    check_replaceable([page, numbers])
    make_folder(out)
    segmenter = Segmenter.load(model, device=device, threads=threads)
    synonyms = Synonyms(segmenter, vocabulary) if suggest else None
    trial = try_names(segmenter, vocabulary, pictures, options=options, synonyms=synonyms)
    document = to_marked_json(
        {
            "format": 1,
            "names_file": str(file),
            "model": segmenter.model,
            "weights_hash": segmenter.weights_hash,
            "settings": segmenter.result_settings(vocabulary, options),
            "pictures": trial.num_pictures,
            "void_share": round(trial.void_share, 6),
            "labels": as_table(trial.labels),
            "suggestions": [one._asdict() | {"message": one.message} for one in trial.suggestions],
            "failures": [{"picture": str(path), "error": why} for path, why in trial.failures],
        }
    )
    write_file(page, trial_page(trial, f"{file.name} with {segmenter.model}"))
    write_file(numbers, document)
    if as_json:
        sys.stdout.write(document.decode("utf-8"))
    else:
        _print_trial(trial)
        for path in (page, numbers):
            print(display_path(path))
    if trial.failures:
        raise typer.Exit(1)


def _print_trial(trial: "Trial") -> None:
    from escnet.class_lists.class_list import display_text

    names = [display_text(label.label, quoted=False) for label in trial.labels]
    width = max(map(len, [*names, "(unlabelled)"]))
    print(f"{'':{width}}   share  confidence  pictures  nearly  mixed up with")
    for name, label in zip(names, trial.labels, strict=True):
        sure = "" if label.confidence is None else f"{label.confidence:.2f}"
        mixed = ", ".join(f"{other} {share:.1%}" for other, share in label.mixed_with[:3])
        print(
            f"{name:{width}}  {label.share:6.1%}  {sure:>10}  {label.num_pictures:8}  "
            f"{label.near_share:6.1%}  {mixed}".rstrip()
        )
    if trial.void_share:
        print(f"{'(unlabelled)':{width}}  {trial.void_share:6.1%}")
    for suggestion in trial.suggestions:
        print(f"to try: {suggestion.message}")
    for path, why in trial.failures:
        print(f"failed: {path.name}: {why}")


def _print_json(
    file: Path,
    class_list: "ClassList | None",
    vocabulary: "Vocabulary | None",
    findings: "list[Finding]",
) -> None:
    from dataclasses import asdict

    from escnet.annotations.json_text import to_json

    document = {
        "file": str(file),
        "kind": class_list.kind if class_list else None,
        "names": vocabulary.queries_by_label if vocabulary else {},
        "groups": [list(path) for path in vocabulary.result_paths] if vocabulary else [],
        "rest": [str(row.label) for row in class_list.rest] if class_list else [],
        "left_out": list(class_list.left_out) if class_list else [],
        "findings": [asdict(finding) for finding in findings],
    }
    sys.stdout.write(to_json(document).decode("utf-8"))
