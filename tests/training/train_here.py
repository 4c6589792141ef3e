"""Train in this process, which may be one of several: `torchrun train_here.py SETTINGS.json`."""

import json
import sys
from pathlib import Path

from escnet.training.config import Recipe
from escnet.training.run import train

settings = json.loads(Path(sys.argv[1]).read_text())
recipe = Recipe.model_validate(settings["recipe"])
train(recipe, Path(settings["folder"]), cache=Path(settings["cache"]))
sys.stdout.write("trained\n")
