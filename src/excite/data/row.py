"""One row of a manifest: an image and what the table says about it."""

from dataclasses import dataclass

MASK_SEPARATOR = "|"  # no file name on Windows can hold it


@dataclass(frozen=True, kw_only=True)
class Row:
    """One sample, before anything of it is read.

    Args:
        image: Path relative to the manifest's root, or absolute; `file#member` for a zip, `file#page=2` for a page.
        line: Line of the table (the header is line 1), or the position, from 1, where a folder is the table.
        label: Class as text, None where unlabelled.
        patient: Patient id as text: "007" and "07" are two.
        group: What must stay in one part besides the patient, such as a cluster of near duplicates.
        split: "train", "val" or "test" where the table says so.
        mask: Path of the mask; several are joined by `|` and stand for their union.
        spacing: Millimetres a pixel along each axis; one value holds for all axes.
    """

    image: str
    line: int
    label: str | None = None
    patient: str | None = None
    group: str | None = None
    split: str | None = None
    mask: str | None = None
    spacing: tuple[float, ...] | None = None

    @property
    def masks(self) -> tuple[str, ...]:
        """Return the paths of the masks whose union is the mask."""
        return tuple(self.mask.split(MASK_SEPARATOR)) if self.mask else ()
