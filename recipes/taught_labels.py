"""Label maps that teachers make for the built-in model's training, beside those that people drew.

    python recipes/taught_labels.py recipes/mini-taught.toml DATA --stuff STUFF --out TAUGHT

DATA holds train/ and tags/; the recipe says which other words stand for a class name. Two teachers
add what train/ lacks:

* Stuff: the answers of a DeepLab of ADE20K's names (STUFF/STEM.png; `--deeplab TFLITE` makes those
  that are missing) name what is none of the annotated things: walls, floors, sky, grass.
* Things: on the captioned pictures of tags/ an earlier model chooses among the names that the
  captions say. A name that is said is taken at its likeliest place even where the model is unsure;
  a name that is not said is never learnt from, and where the model is sure of one, nobody looked.

TAUGHT is a folder dataset with all pictures of train/ and the captioned ones, source "captions".
Photographs are linked, not copied.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.mini.words import load_mini_tokenizer
from escnet.model.escnet import EscNet
from escnet.training.captions import names_said_of
from escnet.training.config import read_recipe
from escnet.training.examples import shared_classes
from escnet.training.features import whole_view
from escnet.training.tagged import TaggedPictures
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import load_checkpoint

# DeepLab's answer, and the class name that it becomes; a thing or an unclear word becomes nothing.
STUFF = {
    1: "wall", 2: "building", 3: "sky", 4: "floor", 5: "tree", 6: "ceiling", 7: "road",
    9: "windowpane", 10: "grass", 12: "sidewalk", 14: "ground-other", 15: "door", 17: "mountain",
    19: "curtain", 22: "water", 26: "building", 27: "water", 29: "rug", 30: "grass",
}  # fmt: skip
PLANT = 18  # ADE20K's plants are potted or wild: nobody looked
TAUGHT_STUFF = ("voc", "coco80", "captions")  # sources whose pictures get stuff
LEAST_SHARE = 0.01  # of the picture; less is taken for a mistake
MOST_NAMES = 8  # that the teacher weighs against each other on a picture
SURE, UNSURE = 0.5, 0.15  # confidences
PEAK_SHARE = 0.7  # of a said name's highest confidence
LEAST_PEAK = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--stuff", type=Path, required=True)
    parser.add_argument("--deeplab", type=Path)
    parser.add_argument("--teacher", default="mini")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    dataset = FolderDataset.read(arguments.data / "train")
    classes = shared_classes(dataset)
    recipe = read_recipe(arguments.recipe)
    if recipe.data is None:
        parser.error(f"{arguments.recipe} has no section data")
    tagged = TaggedPictures.read(arguments.data / "tags")
    things = dataset.source("coco80").annotated
    said = said_names(tagged, classes, things, recipe.data.synonyms)
    captioned = [path for path in tagged.paths if said.get(path.stem)]
    if arguments.deeplab is not None:
        pictures = [item.image_path for item in dataset if item.source in TAUGHT_STUFF]
        answer_stuff([*pictures, *captioned], arguments.deeplab, arguments.stuff)
    for name in ("images", "masks"):
        (arguments.out / name).mkdir(parents=True, exist_ok=True)
    stuff = {answer: classes.index(name) for answer, name in STUFF.items()}
    for item in dataset:
        labels = item.read_truth()
        if item.source in TAUGHT_STUFF:
            labels = with_stuff(labels, item.stem, arguments.stuff, stuff)
        put(arguments.out, item.image_path, item.stem, labels)
    teacher = Teacher(arguments.teacher, classes, things)
    for number, path in enumerate(captioned):
        if (arguments.out / "masks" / f"captions__{path.stem}.png").exists():
            continue  # a stopped run goes on
        labels = teacher.labels(path, sorted(said[path.stem]))
        labels = with_stuff(labels, path.stem, arguments.stuff, stuff)
        put(arguments.out, path, f"captions__{path.stem}", labels)
        if number % 100 == 0:
            print(f"{number} of {len(captioned)}", flush=True)
    write_classes(arguments.data / "train", arguments.out, things, sorted(set(stuff.values())))


def said_names(
    tagged: TaggedPictures,
    classes: Sequence[str],
    things: Sequence[int],
    synonyms: Mapping[str, Sequence[str]],
) -> dict[str, frozenset[int]]:
    """For each picture the things that its texts say, in their own or in other words."""
    wordings = {index: [classes[index], *synonyms.get(classes[index], ())] for index in things}
    found = zip(tagged.paths, names_said_of(tagged, wordings), strict=True)
    return {path.stem: said for path, said in found if path.stem.startswith("coco__")}


def with_stuff(labels: np.ndarray, stem: str, folder: Path, stuff: Mapping[int, int]) -> np.ndarray:
    """What is none of the things gets DeepLab's name for it, or nobody looked."""
    size = labels.shape[::-1]
    answer = np.asarray(Image.open(folder / f"{stem}.png").resize(size, Image.Resampling.NEAREST))
    is_none = labels == 254
    filled = labels.copy()
    filled[is_none & (answer == PLANT)] = 255
    for wanted, label in stuff.items():
        here = is_none & (answer == wanted)
        if here.any():
            filled[here] = label if here.mean() >= LEAST_SHARE else 255
    return filled


class Teacher:
    """An earlier model that chooses among names that are known to be shown."""

    def __init__(self, model: str, classes: Sequence[str], things: Sequence[int]) -> None:
        folder = require_local(model)
        self.network: EscNet = load_checkpoint(folder).eval()
        tokens = load_mini_tokenizer(folder, 128)(
            [self.network.config.template.format(classes[index]) for index in things]
        )
        self.things = np.array(things)
        with torch.inference_mode():
            self.text = self.network.encode_text(tokens.token, tokens.is_token)

    @torch.inference_mode()
    def labels(self, path: Path, said: list[int]) -> np.ndarray:
        """The label map of a picture that shows these things, and perhaps others.

        The answer is the mean of those for the picture and for its mirror image.
        """
        size_hw = read_image(path).shape[:2]
        with torch.autocast("cpu", torch.bfloat16):
            image = whole_view(path, self.network.config.image_size)[None]
            image = torch.cat([image, image.flip(3)])
            patches = self.network.vision(image.contiguous(memory_format=torch.channels_last))
            highest = self.network.correlate(patches, self.text).amax(dim=(0, 2, 3))
            is_said = torch.from_numpy(np.isin(self.things, said))
            row = (highest.float() + 1000 * is_said).topk(max(MOST_NAMES, len(said))).indices
            logits = self.network.segment(patches, self.text[row]).logits.float()
            logits = (logits[:1] + logits[1:].flip(3)) / 2
        fine = F.interpolate(logits, size=size_hw, mode="bilinear", align_corners=False)[0]
        return chosen(fine.sigmoid(), self.things[row.numpy()], len(said))


def chosen(sure: torch.Tensor, names: np.ndarray, num_said: int) -> np.ndarray:
    """Labels from confidences, of which the first `num_said` are of names that are shown."""
    best, winner = sure.max(dim=0)
    labels = torch.full_like(winner, 254)
    labels[best > UNSURE] = 255
    is_said = winner < num_said
    labels[is_said & (best > SURE)] = 1000
    said = sure[:num_said]
    peak = said.amax(dim=(1, 2), keepdim=True)
    of_said, said_winner = said.max(dim=0)
    near_peak = (said >= PEAK_SHARE * peak).gather(0, said_winner[None])[0]
    is_high = (peak > LEAST_PEAK).expand_as(said).gather(0, said_winner[None])[0]
    labels[near_peak & is_high & (of_said > LEAST_PEAK)] = 1000
    named = torch.from_numpy(names)[said_winner]
    return torch.where(labels == 1000, named, labels).numpy().astype(np.uint8)


def put(out: Path, picture: Path, stem: str, labels: np.ndarray) -> None:
    link = out / "images" / f"{stem}{picture.suffix}"
    if not link.exists():
        link.symlink_to(picture.resolve())
    Image.fromarray(labels).save(out / "masks" / f"{stem}.png")


def write_classes(root: Path, out: Path, things: Sequence[int], stuff: Sequence[int]) -> None:
    table = json.loads((root / "classes.json").read_text())
    table["sources"]["captions"] = {"annotated": list(things), "has_background": True}
    for source in TAUGHT_STUFF:
        annotated = table["sources"][source]["annotated"]
        table["sources"][source]["annotated"] = sorted({*annotated, *stuff})
    (out / "classes.json").write_text(json.dumps(table, indent=1))


def answer_stuff(pictures: Sequence[Path], model: Path, folder: Path) -> None:
    """DeepLab's answers for the pictures that have none yet."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 -- only needed here

    folder.mkdir(parents=True, exist_ok=True)
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    wanted = interpreter.get_input_details()[0]
    given = interpreter.get_output_details()[0]
    side = int(wanted["shape"][1])
    for path in missing(pictures, folder):
        image = Image.fromarray(read_image(path)).resize((side, side), Image.Resampling.BILINEAR)
        interpreter.set_tensor(wanted["index"], np.asarray(image)[None].astype(wanted["dtype"]))
        interpreter.invoke()
        answer = interpreter.get_tensor(given["index"])[0].astype(np.uint8)
        Image.fromarray(answer).save(folder / f"{path.stem}.png")


def missing(pictures: Sequence[Path], folder: Path) -> Iterator[Path]:
    return (path for path in pictures if not (folder / f"{path.stem}.png").exists())


if __name__ == "__main__":
    main()
