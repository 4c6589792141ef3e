"""`escnet report`: the report of a result, written again."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        list[Path], typer.Argument(help="Results of `escnet evaluate`.", metavar="RESULT.json...")
    ],
) -> None:
    """Write the Markdown and HTML report of a result again, beside it.

    Pictures that `escnet evaluate` drew are shown if they are still there; no model is asked.
    """
    from escnet.evaluation.report import write_report
    from escnet.evaluation.result import EvalResult
    from escnet.files import display_path

    for path in results:
        markdown, page = write_report(EvalResult.read(path), path)
        print(f"{display_path(markdown)}, {display_path(page)}")
