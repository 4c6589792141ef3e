"""A table of what a folder's pictures show, for a spreadsheet: a row for each picture.

python examples/table_of_shares.py examples "cat, cup, person" > shares.csv
"""

import csv
import sys
from pathlib import Path

from escnet import Segmenter, Vocabulary


def main() -> None:
    folder, names = sys.argv[1:]
    vocabulary = Vocabulary.parse(names, has_background=True)
    segmenter = Segmenter.load()
    table = csv.writer(sys.stdout)
    table.writerow(["picture", *vocabulary.result_names])
    for picture in sorted(Path(folder).glob("*.jpg")):
        result = segmenter.segment(picture, vocabulary)
        shares = [f"{result.share(name):.3f}" for name in vocabulary.result_names]
        table.writerow([picture.name, *shares])


if __name__ == "__main__":
    main()
