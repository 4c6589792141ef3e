"""The kinds of vision-language towers that there are: a further one is a file and an entry here."""

from collections.abc import Mapping

from escnet.errors import ConfigError
from escnet.towers.clip import CLIP
from escnet.towers.dual_encoder import DUAL_ENCODER
from escnet.towers.kind import TowerKind
from escnet.towers.metaclip2 import METACLIP_2
from escnet.towers.open_clip import OPEN_CLIP
from escnet.towers.siglip import SIGLIP
from escnet.towers.tipsv2 import TIPSV2

TOWER_KINDS: Mapping[str, TowerKind] = {
    kind.name: kind for kind in (CLIP, METACLIP_2, SIGLIP, TIPSV2, DUAL_ENCODER, OPEN_CLIP)
}


def tower_kind(name: object) -> TowerKind:
    """The kind of that name.

    Raises:
        ConfigError: If there is none, or the transformers that is installed lacks its networks.
    """
    if not isinstance(name, str) or name not in TOWER_KINDS:
        raise ConfigError(
            f"towers {name!r} are of no known kind: choose from {', '.join(TOWER_KINDS)}"
        )
    kind = TOWER_KINDS[name]
    kind.check_transformers()
    return kind
