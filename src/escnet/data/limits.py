"""How large a picture may be; a module of its own, as it costs nothing to import."""

MAX_PIXELS = 100_000_000  # H x W
