"""The kinds of vision-language towers that there are: a further one is a file and an entry here."""

from collections.abc import Mapping

from escnet.errors import ConfigError
from escnet.towers.clip import CLIP
from escnet.towers.dual_encoder import DUAL_ENCODER
from escnet.towers.kind import TowerKind
from escnet.towers.siglip import SIGLIP

TOWER_KINDS: Mapping[str, TowerKind] = {kind.name: kind for kind in (CLIP, SIGLIP, DUAL_ENCODER)}


def tower_kind(name: object) -> TowerKind:
    """The kind of that name.

    Raises:
        ConfigError: If there is none.
    """
    if not isinstance(name, str) or name not in TOWER_KINDS:
        raise ConfigError(
            f"towers {name!r} are of no known kind: choose from {', '.join(TOWER_KINDS)}"
        )
    return TOWER_KINDS[name]
