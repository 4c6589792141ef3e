"""`escnet names`: what a list of class names says, and what to mend in it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escnet.cli.options import AsJson, Device, Model, verb_group

if TYPE_CHECKING:
    from escnet.class_lists.class_list import ClassList
    from escnet.class_lists.findings import Finding
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
    from escnet.class_lists.class_list import shown_text
    from escnet.class_lists.file import read_text
    from escnet.class_lists.findings import Finding, check_words
    from escnet.class_lists.read import recognise
    from escnet.errors import VocabularyError
    from escnet.files import shown_path
    from escnet.vocabulary import vocabulary_and_faults

    text = read_text(file)
    class_list, vocabulary = None, None
    try:
        class_list = recognise(text, shown_path(file))
        vocabulary, faults = vocabulary_and_faults(class_list)
    except VocabularyError as error:
        faults = [error]
    findings = [Finding("error", "unreadable", (), str(fault)) for fault in faults]
    if vocabulary is not None:
        findings += check_words(vocabulary.queries_by_label)
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
            print(f"  {shown_text(label, quoted=False)}{asked}")
        for finding in findings:
            print(f"{finding.level}: {finding.message}")
        if not findings:
            print("nothing to mend")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


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
        "rest": [str(row.label) for row in class_list.rest] if class_list else [],
        "left_out": list(class_list.left_out) if class_list else [],
        "findings": [asdict(finding) for finding in findings],
    }
    sys.stdout.write(to_json(document).decode("utf-8"))
