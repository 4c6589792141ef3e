"""`escnet weights`: what a model is made of, which weights are known, whether a file is whole."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from escnet.weights.checkpoint import CheckpointSummary
    from escnet.weights.origin import Origin

app = typer.Typer(
    help="Show, list, and check weights.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_SHOWN_SETTINGS = (
    "vision",
    "text",
    "image_size",
    "patch_size",
    "joint_dim",
    "template",
    "num_blocks",
    "regions_per_class",
    "prompts",
    "sam",
    "hidden_dim",
)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="Built-in model, folder, or hub id.")] = "mini",
    as_json: AsJson = False,
) -> None:
    """Show a model's settings, the size of its parts, and where each came from."""
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import summarize_checkpoint

    folder = require_local(model)
    summary = summarize_checkpoint(folder)
    if as_json:
        _print_json(
            {
                "model": model,
                "folder": str(folder),
                "storage": summary.storage,
                "num_bytes": summary.num_bytes,
                "weights_hash": summary.weights_hash,
                "num_values": dict(summary.num_values),
                "origins": [origin.to_dict() for origin in summary.origins],
                "config": dict(summary.config),
            }
        )
        return
    print(f"{model} ({folder})")
    print(f"  storage       {summary.storage}, {_megabytes(summary.num_bytes)}")
    print(f"  weights hash  {summary.weights_hash}")
    _print_settings(summary)
    _print_parts(summary)
    _print_origins(summary.origins)


@app.command(name="list")
def list_known(as_json: AsJson = False) -> None:
    """List the published weights that this program knows by name."""
    from escnet.weights.catalog import CATALOG

    if as_json:
        _print_json(
            [
                {
                    "name": known.name,
                    "part": known.part,
                    "licence": known.licence,
                    "description": known.description,
                    "is_on_hub": known.is_on_hub,
                    "size": dict(known.size),
                    "sha256": dict(known.sha256),
                }
                for known in CATALOG.values()
            ]
        )
        return
    for known in CATALOG.values():
        print(f"{known.name}")
        print(f"  {known.description}; {known.part}; {known.licence}")


@app.command()
def check(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="A checkpoint, or a SAM file.")],
    as_json: AsJson = False,
) -> None:
    """Check that weights are complete: every tensor there, in its shape, and none besides."""
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import is_checkpoint, load_any_network, weights_hash

    path = require_local(source)
    if is_checkpoint(path):
        num_tensors = len(load_any_network(path).state_dict())
        report: dict[str, Any] = {"kind": "checkpoint", "sha256": weights_hash(path)}
    else:
        from escnet.weights.sam import read_sam_parts, sam_shapes

        origin = read_sam_parts(path).origin
        num_tensors = len(sam_shapes())
        report = {"kind": "SAM", "sha256": origin.sha256, "name": origin.name}
    report |= {"path": str(path), "num_tensors": num_tensors}
    if as_json:
        _print_json(report)
    else:
        print(f"{path}: {report['kind']}, complete, {num_tensors} tensors")
        print(f"  sha256 {report['sha256']}")


@app.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint's folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    storage: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="How tensors are stored.")
    ] = "int8",
    halve: Annotated[
        list[str] | None,
        typer.Option(help="Names that int8 keeps in half precision, as a pattern; repeatable."),
    ] = None,
) -> None:
    """Write a checkpoint again in another storage."""
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import load_any_network, summarize_checkpoint, write_checkpoint

    folder = require_local(source)
    network = load_any_network(folder)
    write_checkpoint(out, network, storage=storage, halve=halve or (), tokenizer_from=folder)
    print(f"{out}: {_megabytes(summarize_checkpoint(out).num_bytes)}")


@app.command()
def assemble(
    preset: Annotated[str, typer.Argument(help="vit-b-16 or vit-l-14.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    clip: Annotated[str, typer.Option(help="CLIP: a folder, or a hub identifier.")],
    sam: Annotated[str | None, typer.Option(help="SAM: a file, folder or hub identifier.")] = None,
) -> None:
    """Put CLIP's towers and SAM's blocks into a network; the rest of it is untrained."""
    from escnet.weights.assemble import assemble_clip
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import write_checkpoint

    folder = require_local(clip)
    write_checkpoint(out, assemble_clip(preset, clip=folder, sam=sam), tokenizer_from=folder)
    print(f"{out}: assembled; its fusion and decoder are untrained")


@app.command()
def convert(
    kind: Annotated[Literal["catseg"], typer.Argument(help="What the file is.")],  # noqa: ARG001
    source: Annotated[Path, typer.Argument(metavar="FILE", help="CAT-Seg's model_final.pth.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    clip: Annotated[
        str | None,
        typer.Option(
            help="The CLIP whose tokenizer is copied: a folder, or a hub identifier; "
            "if not given, one is looked for in the hub's cache."
        ),
    ] = None,
    storage: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="How tensors are stored.")
    ] = "float32",
) -> None:
    """Turn a published checkpoint of CAT-Seg into one of ours."""
    from escnet.weights.catseg import read_catseg, tokenizer_folder
    from escnet.weights.checkpoint import summarize_checkpoint, write_checkpoint

    folder = tokenizer_folder(clip)  # before anything large is read
    write_checkpoint(out, read_catseg(source), storage=storage, tokenizer_from=folder)
    print(f"{out}: CAT-Seg, complete, {_megabytes(summarize_checkpoint(out).num_bytes)}")


def _print_settings(summary: "CheckpointSummary") -> None:
    print("  settings")
    for name in _SHOWN_SETTINGS:
        if name in summary.config:
            value = summary.config[name]
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            print(f"    {name:<18} {text}")


def _print_parts(summary: "CheckpointSummary") -> None:
    total = sum(summary.num_values.values())
    print(f"  parameters and buffers, {total:,} in all")
    for part, number in sorted(summary.num_values.items(), key=lambda item: -item[1]):
        print(f"    {part:<18} {number:>12,}")


def _print_origins(origins: "tuple[Origin, ...]") -> None:
    if not origins:
        print("  origins: none recorded")
        return
    print("  origins")
    for origin in origins:
        print(f"    {origin.part}: {origin.name} ({origin.licence})")
        print(f"      {origin.description}")
        print(f"      sha256 {origin.sha256}")


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))
