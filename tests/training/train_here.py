"""Train in this process, which may be one of several: `torchrun train_here.py SETTINGS.json`.

A {rank} in the folder's name is the process's own, as on machines that do not share it.
"""

import json
import os
import sys
from pathlib import Path

from escnet.errors import ConfigError
from escnet.training.recipe import recipe_of
from escnet.training.run import train

settings = json.loads(Path(sys.argv[1]).read_text())
recipe = recipe_of(settings["recipe"])
folder = Path(settings["folder"].replace("{rank}", os.environ.get("RANK", "0")))
resume = settings.get("resume", False)
try:
    train(recipe, folder, cache=Path(settings["cache"]), resume=resume)
except ConfigError as error:
    sys.stdout.write(f"refused: {error}\n")
else:
    sys.stdout.write("trained\n")
# Threads of gloo that still run as Python ends abort it now and then; what is tested has been said.
sys.stdout.flush()
os._exit(0)
