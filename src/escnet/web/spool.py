"""Contents that wait on the disk in a file without a name: it is gone when the process is."""

from tempfile import TemporaryFile
from typing import NamedTuple


class Slot(NamedTuple):
    """Where a content lies."""

    start: int
    length: int


class Spool:
    """Keeps contents one behind the other, until it is closed."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="escnet-")  # noqa: SIM115 -- closed by `close`
        self._end = 0

    def add(self, content: bytes) -> Slot:
        """Keep a content."""
        self._file.seek(self._end)
        self._file.write(content)
        slot = Slot(self._end, len(content))
        self._end += len(content)
        return slot

    def read(self, slot: Slot) -> bytes:
        """A content."""
        self._file.seek(slot.start)
        return self._file.read(slot.length)

    def close(self) -> None:
        """Let all contents go."""
        self._file.close()
