"""QGIS: a Processing algorithm that segments a raster by names with the escnet command.

Put it in with "Add Script to Toolbox" of the Processing toolbox (docs/how-to/segment-in-qgis.md).
"""

import os
import re
import subprocess
from pathlib import Path

from qgis.core import QgsProcessingContext, QgsProcessingException
from qgis.processing import alg


@alg(name="segmentbynames", label="Segment by names", group="escnet", group_label="escnet")
@alg.input(type=alg.RASTER_LAYER, name="INPUT", label="Raster")
@alg.input(type=str, name="NAMES", label="Class names", default="water, forest, meadow, road")
@alg.input(type=str, name="MODEL", label="Model", default="mini")
@alg.input(type=str, name="MORE", label="More options", optional=True, default="--background")
@alg.input(type=str, name="ESCNET", label="The escnet command", default="escnet")
@alg.input(type=alg.FOLDER_DEST, name="FOLDER", label="Folder for the results")
@alg.output(type=str, name="LABELS", label="Label map")
def segment(instance, parameters, context, feedback, inputs):  # noqa: ARG001 -- what QGIS gives
    """Gives every pixel of a raster one of the names. The label map opens in the names' colours."""

    def text(name):
        return instance.parameterAsString(parameters, name, context)

    layer = instance.parameterAsRasterLayer(parameters, "INPUT", context)
    source = Path(layer.source())
    command = [text("ESCNET"), "segment", str(source), "--classes", text("NAMES")]
    command += ["--model", text("MODEL"), "--out", text("FOLDER"), *text("MORE").split()]
    feedback.pushCommandInfo(subprocess.list2cmdline(command))
    # QGIS points its own Python to its own packages; escnet has others.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        job = subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise QgsProcessingException(
            f"{text('ESCNET')} cannot be started ({error.strerror}): give the whole path of the "
            "escnet command, such as /home/me/venv/bin/escnet"
        ) from None
    for line in job.stdout:
        feedback.pushConsoleInfo(line.rstrip())
        if progress := re.match(r"(\d+) of (\d+) parts", line):
            feedback.setProgress(100 * int(progress[1]) / int(progress[2]))
        if feedback.isCanceled():
            job.terminate()
    if job.wait():
        raise QgsProcessingException("escnet has stopped: its last line says why")
    labels = Path(text("FOLDER")) / f"{source.stem}.labels.tif"
    details = QgsProcessingContext.LayerDetails(labels.stem, context.project(), "LABELS")
    context.addLayerToLoadOnCompletion(str(labels), details)
    return {"LABELS": str(labels), "FOLDER": text("FOLDER")}
