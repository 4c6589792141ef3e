"""Which pages of a TIFF, or frames of a GIF, are meant: "first", "all", or numbers such as "1,3-5".

A file without pages has one.
"""

import re
from dataclasses import dataclass

from escnet.errors import ConfigError, setting

_PART = re.compile(r"(?P<first>[0-9]{1,6})(?:-(?P<last>[0-9]{1,6}))?")
_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Pages:
    """A choice of pages.

    Attributes:
        ranges: First and last page of each part, from 1; None for every page.
    """

    ranges: tuple[tuple[int, int], ...] | None = ((1, 1),)

    @classmethod
    def parse(cls, text: str) -> "Pages":
        """The choice that a text stands for.

        Raises:
            ConfigError: If it stands for none.
        """
        if text == "first":
            return cls()
        if text == "all":
            return cls(None)
        parts = [part.strip() for part in text.split(",", maxsplit=_MOST_PARTS)]
        matches = [_PART.fullmatch(part) for part in parts]
        ranges = [(int(m["first"]), int(m["last"] or m["first"])) for m in matches if m]
        if len(ranges) < len(parts) or any(not 1 <= first <= last for first, last in ranges):
            raise ConfigError(
                f"{setting('pages')} {text[:40]!r} are no pages: give first, all, or numbers from "
                "1 on, such as 1,3-5"
            )
        return cls(tuple(ranges))

    def of(self, num_pages: int) -> list[int]:
        """The pages of a file that has so many, each once and in order; it may have none of them.

        Args:
            num_pages: Pages of the file.
        """
        if self.ranges is None:
            return list(range(1, num_pages + 1))
        chosen: set[int] = set()
        for first, last in self.ranges:
            chosen.update(range(first, min(last, num_pages) + 1))
        return sorted(chosen)

    def beyond(self, num_pages: int) -> str:
        """The pages asked for that such a file does not have, such as "4-5"; nothing if it has all.

        Args:
            num_pages: Pages of the file.
        """
        parts = [
            (max(first, num_pages + 1), last)
            for first, last in self.ranges or ()
            if last > num_pages
        ]
        return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in sorted(set(parts)))
