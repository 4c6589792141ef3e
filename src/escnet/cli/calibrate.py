"""`escnet calibrate`: labelled pictures in, confidences that mean what they say out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

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
    Device,
    Dtype,
    Model,
    SharePrior,
    Threads,
    WindowsMode,
    check_machine,
    windows_from_options,
)


def calibrate(  # noqa: PLR0913, PLR0917 -- one argument for each option
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of pictures with label maps.", metavar="FOLDER..."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="A file, or the model's own folder, which gets a calibration.json.",
            metavar="FILE|FOLDER",
        ),
    ],
    most: Annotated[
        int | None,
        typer.Option(
            help="Pictures of each source, spread over it; if not given, all.", metavar="N", min=1
        ),
    ] = None,
    windows: WindowsMode = "whole",
    layout: Layout = None,
    split: Split = None,
    classes_file: ClassesFile = None,
    ignore: Ignore = None,
    zero_is: ZeroIs = None,
    offset: Offset = None,
    id_map: IdMap = None,
    model: Model = "mini",
    share_prior: SharePrior = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
) -> None:
    """Fit a model's confidence to pictures with label maps, so that 0.8 is right in 80 of 100.

    Labels stay as they are, but for --void-below. A calibration.json in the model's folder is used
    wherever the model is; another file with --calibration FILE. It holds for the same weights,
    asked in the same way.
    """
    from escnet.cli.progress import PicturePace, progress_display
    from escnet.data.folder import FolderDataset
    from escnet.evaluation.calibrate import (
        ask_pictures,
        calibration_targets,
        check_number,
        doubts_of,
        fit_calibration,
        spread,
    )
    from escnet.files import check_replaceable, display_path
    from escnet.inference.calibration import calibration_path
    from escnet.inference.jobs.parts import PartReport
    from escnet.inference.options import SegmentOptions
    from escnet.inference.segmenter import Segmenter

    check_machine(device, dtype, threads)
    options = SegmentOptions(
        windows=windows_from_options(windows, None), share_prior=share_prior, exact=True
    )
    path = calibration_path(out, model)
    check_replaceable([path])
    reading = folder_options(
        layout=layout,
        split=split,
        classes_file=classes_file,
        ignore=ignore,
        zero_is=zero_is,
        offset=offset,
        id_map=id_map,
    )
    targets = []
    for folder in folders:
        dataset = FolderDataset.read(folder, reading)
        say_reading(dataset)
        targets += calibration_targets(dataset)
    pictures = [spread(target.items, most) for target in targets]
    total = sum(map(len, pictures))
    check_number(total)
    segmenter = Segmenter.load(
        model,
        device=device,
        dtype=dtype,
        share_prior=share_prior,
        calibration="none",
        threads=threads,
    )
    with progress_display(total, PicturePace(total)) as show:
        answers = [
            answer
            for target, items in zip(targets, pictures, strict=True)
            for answer in ask_pictures(
                segmenter, target, items, options, on_picture=lambda: show(PartReport("written"))
            )
        ]
    calibration, fits = fit_calibration(answers, segmenter, options)
    calibration.write(path)
    width = max(len(fit.source) for fit in fits)
    print("calibration errors by a fit to the other half of the pictures; AUROC of presence")
    for fit in fits:
        print(
            f"  {fit.source:{width}}  {fit.num_pictures:4} pictures  "
            f"confidence {fit.before:6.1%} -> {fit.after:5.1%}  "
            f"presence {fit.presence_after:5.1%}, {fit.auroc:.3f}"
        )
    print(display_path(path))
    for doubt in doubts_of(fits):
        print(f"escnet: warning: {doubt}", file=sys.stderr)
