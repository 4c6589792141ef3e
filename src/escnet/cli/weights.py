"""`escnet weights`: what a model is made of, which weights are known, whether a file is whole."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from escnet.cli.options import AsJson, verb_group

if TYPE_CHECKING:
    from escnet.weights.checkpoint import CheckpointSummary
    from escnet.weights.origin import Origin

app = verb_group("Show, list, and check weights.")


_SHOWN_SETTINGS = (
    "towers",
    "image_size",
    "patch_size",
    "joint_dim",
    "template",
    "num_blocks",
    "regions_per_class",
    "prompts",
    "sam",
    "hidden_dim",
    "presence",
    "detail",
    "rejection",
    "share_prior",
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
    """List the published weights that this program knows by name, and what each model needs."""
    from escnet.weights.catalog import CATALOG, NEEDS

    if as_json:
        weights = [
            {
                "name": known.name,
                "part": known.part,
                "licence": known.licence,
                "description": known.description,
                "is_on_hub": known.is_on_hub,
                "published": known.published,
                "size": dict(known.size),
                "sha256": dict(known.sha256),
            }
            for known in CATALOG.values()
        ]
        models = [{"model": model, "needs": needs} for model, needs in NEEDS.items()]
        _print_json({"weights": weights, "models": models})
        return
    print("weights")
    for known in CATALOG.values():
        print(f"  {known.name}")
        print(f"    {known.description}; {known.part}; {known.licence}")
        print(f"    {'from the model hub' if known.is_on_hub else known.published}")
        for file, size in known.size.items():
            print(f"    {file}, {_megabytes(size)}, sha256 {known.sha256[file]}")
    print("what --model takes, and what it needs")
    for model, needs in NEEDS.items():
        print(f"  {model}")
        print(f"    {needs}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of `escnet weights list`, or a hub id.")],
    as_json: AsJson = False,
) -> None:
    """Bring weights from the model hub to this machine, and show what came."""
    from escnet.weights.catalog import identify, require_local
    from escnet.weights.origin import file_sha256

    folder = require_local(name)
    files = [folder] if folder.is_file() else sorted(p for p in folder.iterdir() if p.is_file())
    entries: list[dict[str, Any]] = []
    for file in files:
        sha256 = file_sha256(file)
        known = identify(file, sha256)
        size = file.stat().st_size
        as_published = None if known is None else known.name
        entries.append(
            {"file": file.name, "size": size, "sha256": sha256, "known_as": as_published}
        )
    if as_json:
        _print_json({"name": name, "path": str(folder), "files": entries})
        return
    print(f"{name}: {folder}")
    for one in entries:
        known_name = "" if one["known_as"] is None else f", as published ({one['known_as']})"
        print(f"  {one['file']}, {_megabytes(one['size'])}{known_name}")
        print(f"    sha256 {one['sha256']}")


@app.command()
def check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS", help="A checkpoint, a CLIP, a SAM, or CAT-Seg's file: path or name."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Check that weights are complete: every tensor there, in its shape, and none besides."""
    from escnet.weights.catalog import require_local

    path = require_local(source)
    report = {**_checked(path), "path": str(path)}
    if as_json:
        _print_json(report)
        return
    print(f"{path}: {report['kind']}, complete, {report['num_tensors']} tensors")
    print(f"  sha256 {report['sha256']}")
    if report.get("name"):
        print(f"  {report['name']}")


def _checked(path: Path) -> dict[str, Any]:
    """Kind, hash and number of tensors of weights that are complete; others are an error."""
    from escnet.errors import WeightsError
    from escnet.towers.table import TOWER_KINDS
    from escnet.weights.catalog import identify
    from escnet.weights.checkpoint import is_checkpoint, load_any_network, weights_hash
    from escnet.weights.config_file import model_type_in
    from escnet.weights.tokenizer_files import read_tokenizer
    from escnet.weights.tower_folder import TowerFolder, holds_towers

    if is_checkpoint(path):
        num_tensors = len(load_any_network(path).state_dict())
        return {"kind": "checkpoint", "sha256": weights_hash(path), "num_tensors": num_tensors}
    if holds_towers(path):
        folder = TowerFolder.read(path)
        vision, text = folder.towers()
        read_tokenizer(folder.path)
        num_tensors = len(vision.state_dict()) + len(text.state_dict())
        return {"kind": folder.kind.title, "sha256": folder.sha256(), "num_tensors": num_tensors}
    if (model_type := model_type_in(path)) not in {None, "sam"}:
        raise WeightsError(
            f"{path} holds a model of type {model_type!r}: give a checkpoint of this project, "
            f"towers ({', '.join(TOWER_KINDS)}), a SAM, or CAT-Seg's model_final.pth"
        )
    from escnet.weights.tensor_file import read_all_tensors, tensor_files_in, tensors_sha256

    files = [path] if path.is_file() else tensor_files_in(path)
    sha256 = tensors_sha256(files)
    known = identify(files[0], sha256)
    report = {"sha256": sha256, "name": files[0].name if known is None else known.name}
    names = read_all_tensors(files).keys()
    if any(name.startswith("sem_seg_head.") for name in names):
        from escnet.catseg.conversion import read_catseg

        read_catseg(files[0])
        return {"kind": "CAT-Seg as published", "num_tensors": len(names), **report}
    from escnet.weights.sam_model import load_sam_decoder, load_sam_model

    if any(name.endswith("_encoder.pos_embed") for name in names):  # not MobileSAM's
        load_sam_model(path)
        return {"kind": "SAM", "num_tensors": len(names), **report}
    load_sam_decoder(path)
    kind = "SAM without its image encoder"
    return {"kind": kind, "num_tensors": len(names), **report}


@app.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint's folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    storage: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="How tensors are stored.")
    ] = "int8",
    halve: Annotated[
        list[str] | None,
        typer.Option(
            help="Names that int8 keeps in half precision, as a pattern; repeatable. "
            "If not given, those that MODEL has in half precision."
        ),
    ] = None,
) -> None:
    """Write a checkpoint again in another storage."""
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import load_any_network, summarize_checkpoint, write_checkpoint
    from escnet.weights.storage import INT8_FILE, halved_names
    from escnet.weights.tensor_file import read_tensors

    folder = require_local(source)
    network = load_any_network(folder)
    if halve is None and storage == "int8" and (folder / INT8_FILE).is_file():
        # 8-bit integers come out as they went in, and so must what stands beside them
        halve = halved_names(read_tensors(folder / INT8_FILE))
    write_checkpoint(out, network, storage=storage, halve=halve or (), tokenizer_from=folder)
    print(f"{out}: {_megabytes(summarize_checkpoint(out).num_bytes)}")


@app.command()
def average(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Checkpoints' folders; the mean has the first one's settings."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    share: Annotated[
        list[float] | None,
        typer.Option(
            help="Weight of each model, in their order; repeatable. If not given, all weigh alike."
        ),
    ] = None,
) -> None:
    """Write the mean of several checkpoints' weights, in float32."""
    from escnet.weights.average import average_checkpoints
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import check_checkpoint_folder, write_checkpoint

    check_checkpoint_folder(out)
    folders = [require_local(model) for model in models]
    write_checkpoint(out, average_checkpoints(folders, share or ()), tokenizer_from=folders[0])
    print(f"{out}: the mean of {len(folders)} checkpoints")


@app.command()
def assemble(
    preset: Annotated[
        str,
        typer.Argument(help="vit-b-16, vit-l-14, or from-towers: as the towers' folder says."),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    towers: Annotated[
        str, typer.Option("--towers", "--clip", help="Both towers: a folder, or a hub identifier.")
    ],
    sam: Annotated[str | None, typer.Option(help="SAM: a file, folder or hub identifier.")] = None,
) -> None:
    """Put published towers and SAM's blocks into a network; the rest of it is untrained."""
    from escnet.weights.assemble import assemble as assembled
    from escnet.weights.catalog import require_local
    from escnet.weights.checkpoint import check_checkpoint_folder, write_checkpoint

    check_checkpoint_folder(out)
    folder = require_local(towers)
    write_checkpoint(out, assembled(preset, towers=folder, sam=sam), tokenizer_from=folder)
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
    from escnet.catseg.conversion import read_catseg, tokenizer_folder
    from escnet.weights.checkpoint import (
        check_checkpoint_folder,
        summarize_checkpoint,
        write_checkpoint,
    )

    check_checkpoint_folder(out)  # both before anything large is read
    folder = tokenizer_folder(clip)
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
