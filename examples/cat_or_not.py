"""How much of a picture is cat: the shortest use of the library.

python examples/cat_or_not.py examples/chelsea.jpg
"""

import sys

from escnet import Segmenter


def main() -> None:
    picture = sys.argv[1]
    result = Segmenter.load().segment(picture, ["cat"], background=True)
    print(f"{result.share('cat'):.0%} of {picture} is cat")


if __name__ == "__main__":
    main()
