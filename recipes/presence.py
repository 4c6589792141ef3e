"""Fits which names a whole picture shows (docs/paper-notes.md, note 28) behind a finished network.

    python recipes/presence.py recipes/mini-taught.toml MODEL --out OUT

The recipe says which pictures (`data.train`, a folder dataset), which pictures with captions
(`data.captions`), and which other words stand for a class name. Captions are searched for the names
of the benchmarks' lists as well. MODEL is a checkpoint of the built-in model's kind, or its name;
OUT is the same with its presence.
"""

import argparse
from pathlib import Path

import torch

from escnet.data.folder import FolderDataset
from escnet.data.layout import class_names, synonyms_in
from escnet.training.assembly import build_network, sentence_vectors, wordings_of
from escnet.training.captions import CaptionedPictures
from escnet.training.config import read_recipe
from escnet.training.examples import shared_classes
from escnet.training.presence import (
    fit_presence,
    said_names,
    said_words,
    shown_names,
    summaries,
)
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import write_checkpoint

_LISTS = ("ade847", "pc459", "coco171")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    settings = [f"parts.start_from={arguments.model}", "model.settings.presence=true"]
    recipe = read_recipe(arguments.recipe, [*settings, *arguments.set])
    if recipe.data is None:
        parser.error(f"{arguments.recipe} has no section data")
    dataset = FolderDataset.read(recipe.data.train)
    network, tokenize = build_network(recipe, dataset)
    network.eval()
    wordings, texts = wordings_of(shared_classes(dataset), recipe.data.synonyms)
    tongue = network.text

    @torch.no_grad()
    def embedded(texts: list[str]) -> torch.Tensor:
        return tongue.to_joint(sentence_vectors(network, tokenize, texts))

    shown, items, said = shown_names(dataset, recipe.data.withheld), list(dataset), None
    if recipe.data.captions is not None:
        captioned = CaptionedPictures.of(dataset, recipe.data.captions, wordings, texts)
        words = listed_words()
        said = said_words(captioned, words, embedded(words), first_row=len(items))
        shown = shown.and_then(said_names(captioned, len(wordings)))
        items += captioned.items

    def tell(done: int) -> None:
        print(f"\r{done} of {len(items)} pictures", end="", flush=True)

    summary = summaries(network, items, tell)
    print()
    loss = fit_presence(network, summary, shown, embedded(texts), wordings, said=said)
    write_checkpoint(arguments.out, network, tokenizer_from=require_local(arguments.model))
    print(f"{arguments.out}: presence fitted, loss {loss:.3f}")


def listed_words() -> list[str]:
    """The names of the benchmarks' lists, each in one wording."""
    names = (name for listed in _LISTS for name in class_names(listed))
    parts = (part.removesuffix("-other") for name in names for part in synonyms_in(name))
    return sorted({part.replace("-", " ").lower() for part in parts})


if __name__ == "__main__":
    main()
