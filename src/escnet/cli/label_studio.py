"""`escnet label-studio`: the machine learning backend of Label Studio."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from escnet.cli.options import Device, Dtype, MaxPixels, Model, Threads, check_machine
from escnet.data.limits import MAX_PIXELS


def label_studio(  # noqa: PLR0913, PLR0917 -- one argument for each option
    host: Annotated[str, typer.Option(help="Address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 9090,
    server: Annotated[
        str | None,
        typer.Option(help="Where Label Studio is; if not given, what it says.", metavar="URL"),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with an access token of Label Studio, for pictures that it stores.",
            metavar="FILE",
        ),
    ] = None,
    model: Model = "mini",
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    void_below: Annotated[
        float, typer.Option(help="Pixels of lower confidence get no label.", metavar="P")
    ] = 0.0,
    min_area: Annotated[
        int,
        typer.Option(
            help="Regions of fewer pixels go to the neighbour with the longest border.",
            metavar="N",
        ),
    ] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Answer Label Studio with brush regions for its project's own labels.

    Add http://127.0.0.1:9090 in the project under Settings, Model. Whoever reaches --host can use
    it. Needs the extra: pip install "escnet[label-studio]".
    """
    from escnet.bridges.label_studio import Backend, make_app
    from escnet.errors import ConfigError
    from escnet.extras import module_of_extra
    from escnet.inference.options import SegmentOptions
    from escnet.inference.segmenter import Segmenter
    from escnet.small_file import SmallFile

    uvicorn = module_of_extra("uvicorn", "label-studio")
    options = SegmentOptions.of(void_below=void_below, min_area=min_area, max_pixels=max_pixels)
    check_machine(device, dtype, threads)
    token = None
    if token_file is not None:
        file = SmallFile(noun="token", error=ConfigError, cure="copy the token into it")
        token = file.text_of(token_file).strip() or None
    logging.basicConfig(format="escnet: %(message)s", stream=sys.stderr)
    segmenter = Segmenter.load(model, device=device, dtype=dtype, threads=threads)
    backend = Backend(segmenter, options, hostname=server, access_token=token)
    print(f"escnet: http://{host}:{port}", flush=True)
    uvicorn.run(make_app(backend), host=host, port=port, log_level="warning")
