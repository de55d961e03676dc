"""Pictures and their masks in folders: `images/` beside `masks/`, or each mask beside its picture.

A mask has its picture's name, or that and an ending: `007.png` and `007.png`, `007_mask.png`, `007_mask_1.png` (several
masks of one picture stand for their union), `007_seg.png`, `007_label.png`.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

from excite.data.fault import Fault
from excite.data.layouts.folder import folder_of, hidden
from excite.data.layouts.layout import LAYOUTS, Found
from excite.data.readers.formats import IMAGE_SUFFIXES
from excite.data.row import MASK_SEPARATOR, Row
from excite.data.sections import DataSection

IMAGES, MASKS = ("images", "image", "imgs", "img"), ("masks", "mask", "annotations", "segmentations", "labels")
ENDING = re.compile(r"(?P<image>.+?)[_-](?:mask|seg|segmentation|label)(?:[_-]\d+)?$", re.IGNORECASE)


@LAYOUTS.register("image_masks")
class ImageMasksLayout:
    """`images/NAME` and `masks/NAME`, or `NAME` and `NAME_mask` in one folder."""

    general: ClassVar[bool] = False

    def fits(self, source: Path) -> str | None:
        """Return a reason where the two folders are there, or masks lie beside pictures."""
        if not source.is_dir():
            return None
        images, masks = _places(source)
        if images != masks:
            return f"it has the folders {images.name!r} and {masks.name!r}"
        names = [file.stem for file in _pictures(source)]
        known = set(names)
        beside = any((match := ENDING.match(name)) and match["image"] in known for name in names)
        return "masks lie beside their pictures" if beside else None

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return a row a picture with its masks; where they are needed, one without any is a fault."""
        top = folder_of(section)
        images, masks = _places(top)
        found = Found(rows=[], root=top, lines=False)
        rows: list[Row] = []
        drawn: dict[str, list[str]] = defaultdict(list)
        pictures = _pictures(images)
        stems = {file.stem for file in pictures}
        for file in _pictures(masks):
            match = ENDING.match(file.stem)
            owner = match["image"] if match and (match["image"] in stems or images == masks) else file.stem
            if images != masks or match:
                drawn[owner].append(file.relative_to(top).as_posix())
        beside = {name for names in drawn.values() for name in names} if images == masks else set()
        kept = [file for file in pictures if file.relative_to(top).as_posix() not in beside]
        for line, file in enumerate(kept, start=1):
            own = drawn.pop(file.stem, [])
            image = file.relative_to(top).as_posix()
            rows.append(Row(image=image, line=line, mask=MASK_SEPARATOR.join(own) or None))
            if labelled and not own:
                found.faults.append(Fault(kind="no-mask", file=image, message=(
                    f"{image} has no mask; draw one (black where nothing is to be found), or take it out")))
        for owner, names in sorted(drawn.items()):
            found.faults.append(Fault(kind="mask-without-image", severity="warning", file=names[0], message=(
                f"mask {names[0]!r} has no picture {owner!r} and is passed over; fetch it or delete the mask")))
        found.rows = rows
        return found


def _places(top: Path) -> tuple[Path, Path]:
    """Return the folders of pictures and of masks; `top` twice where they are not apart."""
    folders = {folder.name.casefold(): folder for folder in sorted(top.iterdir()) if folder.is_dir()}
    images = next((folders[name] for name in IMAGES if name in folders), None)
    masks = next((folders[name] for name in MASKS if name in folders), None)
    return (images, masks) if images and masks else (top, top)


def _pictures(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.is_file() and not hidden(file.name)
            and file.name.lower().endswith(IMAGE_SUFFIXES)]
