"""Fits which names a whole picture shows (docs/paper-notes.md, note 28) behind a finished network.

    python recipes/presence.py recipes/mini-taught.toml MODEL --out OUT

The recipe says which pictures (`data.train`, a folder dataset) and which other words stand for a
class name. MODEL is a checkpoint of the built-in model's kind; OUT is the same with its presence.
"""

import argparse
from pathlib import Path

import torch

from escnet.data.folder import FolderDataset
from escnet.training.assembly import build_network, sentence_vectors, wordings_of
from escnet.training.config import read_recipe
from escnet.training.examples import shared_classes
from escnet.training.presence import fit_presence, shown_names, summaries
from escnet.weights.assemble import paired_towers
from escnet.weights.checkpoint import write_checkpoint


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
    _, tongue = paired_towers(network)
    with torch.no_grad():
        embedding = tongue.to_joint(sentence_vectors(network, tokenize, texts))

    def tell(done: int) -> None:
        print(f"\r{done} of {len(dataset)} pictures", end="", flush=True)

    summary = summaries(network, dataset, tell)
    print()
    loss = fit_presence(network, summary, shown_names(dataset), embedding, wordings)
    write_checkpoint(arguments.out, network, tokenizer_from=arguments.model)
    print(f"{arguments.out}: presence fitted, loss {loss:.3f}")


if __name__ == "__main__":
    main()
