"""`escnet serve`: the page and the service."""

import errno
import logging
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from escnet.cli.options import CalibratedBy, Device, Dtype, Model, Threads, check_machine
from escnet.errors import ConfigError
from escnet.extras import module_of_extra

_LIBRARIES = ("fastapi", "fastapi_offline", "prometheus_client", "python_multipart", "uvicorn")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LIMITS = "Limits"
_SHORTEST_TOKEN = 16


def serve(  # noqa: PLR0913, PLR0917 -- one argument for each option
    host: Annotated[str, typer.Option(help="Address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that clients have to show.", metavar="FILE"),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everyone in who reaches --host.")
    ] = False,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            help="Proxies whose X-Forwarded-For counts as the client's address.",
            metavar="ADDRESS,...",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that compute, each with the model.", min=1, max=256)
    ] = 1,
    model: Model = "mini",
    calibration: CalibratedBy = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    max_bytes: Annotated[
        str, typer.Option(help="Largest request with one picture.", rich_help_panel=_LIMITS)
    ] = "32M",
    max_batch_bytes: Annotated[
        str, typer.Option(help="Largest request with several.", rich_help_panel=_LIMITS)
    ] = "512M",
    max_pixels: Annotated[
        float, typer.Option(help="Largest picture, in pixels.", rich_help_panel=_LIMITS)
    ] = 50e6,
    max_names: Annotated[
        int, typer.Option(help="Most names, with synonyms.", rich_help_panel=_LIMITS)
    ] = 2000,
    max_name_length: Annotated[
        int, typer.Option(help="Longest name, in characters.", rich_help_panel=_LIMITS)
    ] = 200,
    max_pictures: Annotated[
        int, typer.Option(help="Most pictures of a batch.", rich_help_panel=_LIMITS)
    ] = 100,
    max_jobs: Annotated[
        int, typer.Option(help="Most batches at a time.", rich_help_panel=_LIMITS)
    ] = 16,
    max_waiting: Annotated[
        int, typer.Option(help="Most requests that wait.", rich_help_panel=_LIMITS)
    ] = 32,
    seconds: Annotated[
        float,
        typer.Option(help="After which computing is stopped.", rich_help_panel=_LIMITS),
    ] = 60.0,
    wait_seconds: Annotated[
        float, typer.Option(help="Longest wait for a turn.", rich_help_panel=_LIMITS)
    ] = 60.0,
    upload_seconds: Annotated[
        float, typer.Option(help="In which a request has to come.", rich_help_panel=_LIMITS)
    ] = 60.0,
    requests_per_minute: Annotated[
        int, typer.Option(help="Of one client.", rich_help_panel=_LIMITS)
    ] = 240,
    memory: Annotated[
        str, typer.Option(help="Most memory of a worker process.", rich_help_panel=_LIMITS)
    ] = "4G",
) -> None:
    """Serve the page and the interface of programs over HTTP.

    The page is at http://127.0.0.1:8000, the interface at /docs. Another --host needs --token-file
    or --no-token. SIGTERM finishes what runs, refuses the rest, and ends with 0. Needs the extra:
    pip install "escnet[serve]".
    """
    from escnet.inference.calibration import Calibration
    from escnet.inference.methods.model_name import ModelName

    token = _token(token_file)
    if host not in _LOOPBACK and token is None and not no_token:
        raise ConfigError(
            f"--host {host} lets other machines in: give --token-file FILE, or --no-token for "
            "everyone"
        )
    _check_free(host, port)
    ModelName.parse(model)
    calibrated_by = Calibration.of(calibration)
    check_machine(device, dtype, threads)
    for library in _LIBRARIES:
        module_of_extra(library, "serve")
    from escnet.web.app import make_app
    from escnet.web.limits import Limits
    from escnet.web.metrics import Metrics
    from escnet.web.model import LoadModel
    from escnet.web.server import make_server
    from escnet.web.service import Service
    from escnet.web.workers import Workers

    limits = Limits(
        max_bytes=_bytes(max_bytes, "--max-bytes"),
        max_batch_bytes=_bytes(max_batch_bytes, "--max-batch-bytes"),
        max_pixels=int(max_pixels),
        max_names=max_names,
        max_name_length=max_name_length,
        max_pictures=max_pictures,
        max_jobs=max_jobs,
        max_waiting=max_waiting,
        seconds=seconds,
        wait_seconds=wait_seconds,
        upload_seconds=upload_seconds,
        requests_per_minute=requests_per_minute,
        memory=_bytes(memory, "--memory"),
    )
    logging.basicConfig(format="escnet: %(message)s", stream=sys.stderr)
    metrics = Metrics()
    load = LoadModel(
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        num_workers=workers,
        calibration=calibrated_by,
    )
    processes = Workers(load, number=workers, limits=limits, metrics=metrics)
    processes.start()
    try:
        app = make_app(
            Service.of(processes, limits, metrics),
            token=token,
            hosts=_LOOPBACK if host in _LOOPBACK and token is None else None,
        )
        server = make_server(
            app,
            processes,
            limits,
            host=host,
            port=port,
            on_start=lambda *place: print(f"escnet: http://{_shown(*place)}", flush=True),
            proxies=behind_proxy,
        )
        server.run()
    finally:
        processes.close()


def _check_free(host: str, port: int) -> None:
    """Refuse a port that another program has, before the model is read.

    Raises:
        ConfigError: If it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except OSError as error:  # others are the server's to tell
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"port {port} is taken: choose another with --port") from None


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _token(path: Path | None) -> str | None:
    """The token in a file.

    Raises:
        ConfigError: If it is short, or no line of text.
    """
    from escnet.small_file import SmallFile

    if path is None:
        return None
    file = SmallFile(
        noun="token", error=ConfigError, cure="write a long random line to it", most_bytes=4096
    )
    token = file.text_of(path).strip()
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise ConfigError(
            f"token in {path} is no word of at least {_SHORTEST_TOKEN} letters and digits: write "
            "a long random one, such as that of `openssl rand -hex 32`"
        )
    return token


def _bytes(text: str, option: str) -> int:
    """A number of bytes such as 500000, 32M or 4G.

    Raises:
        ConfigError: If it is none.
    """
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    unit = text[-1:].upper()
    digits = text[:-1] if unit in units else text
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 15:
        raise ConfigError(f"{option} {text} is no number of bytes: write for example 32M or 4G")
    return int(digits) * units.get(unit, 1)
