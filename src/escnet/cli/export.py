"""`escnet export MODEL --out FOLDER`: a model as graphs that onnxruntime computes."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="Built-in model, folder, or hub id.")],
    out: Annotated[Path, typer.Option(help="Folder for the graphs.")],
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Store the weights as 8-bit integers, a quarter of the size."),
    ] = False,
) -> None:
    """Write a model as ONNX graphs with the class names still free.

    The folder holds image.onnx (a picture to its patches), look.onnx and head.onnx (patches and any
    number of text embeddings to maps and to logits), text.onnx (tokens to text embeddings), the
    tokenizer, the weights, and manifest.json, which says how to use them. --model FOLDER computes
    it with onnxruntime, without PyTorch.
    """
    from escnet.export.folder import export_model
    from escnet.files import display_path

    manifest = export_model(
        model, out, int8=int8, on_graph=lambda name: print(f"{name} ...", file=sys.stderr)
    )
    megabytes = sum((out / name).stat().st_size for name in manifest.files) / 1e6
    print(f"{display_path(out)}: {megabytes:.0f} MB, opset {manifest.opset}, any number of names")
