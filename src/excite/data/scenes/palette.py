"""The colours of classes, the same in written maps and in reports."""

import colorsys

import numpy as np
from numpy.typing import NDArray

# Any two of the first 16 differ by 16 in CIELAB, any two of all by 10, seen normally and with protanopia,
# deuteranopia or tritanopia (Machado, Oliveira, Fernandes 2009); none is too light or too dark for a page of either
# kind. The first six are those of Okabe and Ito.
CLASSES = bytes.fromhex(
    "e69f00 56b4e9 009e73 d55e00 0072b2 cc79a7 9c3cfc 785430 90b460 9084fc a80078 603cc0 e4b4b4 546054 904800 30e448"
    "9ccce4 c0c090 d800b4 848448 0030fc fc3c78 b49c3c 486084 fc60d8 d83ce4 b42454 c00030 f09cc0 f09cfc e47890 6cd860")
GOLDEN = 0.618034


def palette(count: int) -> NDArray[np.uint8]:
    """Return the colours of classes 1 to `count`, (count, 3), all different.

    After 32 they are hues as far apart as the golden ratio puts them, dark and light, harder to tell apart.
    """
    first = np.frombuffer(CLASSES, np.uint8).reshape(-1, 3)
    more = [colorsys.hsv_to_rgb(number * GOLDEN % 1, (0.85, 0.55)[number % 2], (1.0, 0.75)[number // 2 % 2])
            for number in range(max(0, count - len(first)))]
    rest = (255 * np.array(more)).round().astype(np.uint8).reshape(-1, 3)
    return np.concatenate([first, rest])[:count]
