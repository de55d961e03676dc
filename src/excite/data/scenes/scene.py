"""A scene to learn from: a cube and the labels of its pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from excite.data.scenes.cube import BandChoice, Cube
from excite.data.scenes.cube_table import is_cube_table
from excite.data.scenes.gaps import NoData
from excite.data.scenes.label_files import LABEL_SUFFIXES, read_labels
from excite.data.scenes.labels import LabelMap, check_pair
from excite.data.scenes.public import has_abundances, public_scene, read_abundances
from excite.data.scenes.reading import CUBE_SUFFIXES, check_kind, open_cube, prepare_cube
from excite.errors import DataError, UsageError
from excite.tiling import Tile

ENDINGS = ("_gt", "_labels", "_label", "_groundtruth", "_ground_truth")
CORRECTED = "_corrected"
SHOWN = 10  # files of a folder that an error lists


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One of several cubes that lie side by side in a scene.

    Args:
        name: What to call it.
        patient: Whose it is; None where nobody says.
        place: Its rows and columns.
    """

    name: str
    patient: str | None
    place: Tile

    @property
    def unit(self) -> str:
        """Return what it is not independent of: its patient, or itself where none is known."""
        return self.name if self.patient is None else self.patient


def counted(pieces: Sequence[Piece]) -> str:
    """Return how many cubes there are, and of how many patients where they are known: "12 cubes of 6 patients"."""
    patients = len({piece.patient for piece in pieces} - {None})
    of = f" of {patients} patient{'s' if patients > 1 else ''}" if patients else ""
    return f"{len(pieces)} cube{'s' if len(pieces) > 1 else ''}{of}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Cube and labels of one place, or of several cubes that lie side by side.

    Args:
        name: What to call it.
        cube: Its spectra.
        labels: Its classes; pixels without data are unlabelled.
        pieces: The cubes where it is made of several, see `mosaic`.

    Raises:
        DataError: the two differ in size, or fewer than two classes have a pixel.
    """

    name: str
    cube: Cube
    labels: LabelMap
    pieces: tuple[Piece, ...] = ()

    def __post_init__(self) -> None:
        check_pair(self.cube, self.labels)
        if (there := np.count_nonzero(self.labels.counts)) < 2:
            raise DataError(f"labels must have pixels of two classes or more, have {there}", where=self.labels.source,
                            why="0 is unlabelled and no class", fix="if 0 is a class, add 1 to all labels")

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was decided on the way, each a sentence."""
        return self.cube.notes + self.labels.notes


def open_scene(cube: Path, labels: Path | None = None, *, variable: str | None = None,
               label_variable: str | None = None, classes: Sequence[str] | None = None, purest: float | None = None,
               wavelengths: Sequence[float] | None = None, drop_bands: Sequence[int] = (), no_data: NoData = None,
               white: Path | None = None, dark: Path | None = None, choose: BandChoice | None = None,
               usual_no_data: NoData = None) -> Scene:
    """Return the scene of a cube and a label file, or of a file with abundances.

    Args:
        cube: See `reading.open_cube`, as for `variable`, `wavelengths` and `drop_bands` to `usual_no_data`.
        labels: See `label_files.read_labels`; None where the cube's file holds abundances.
        label_variable: Which array of a .mat or .npz file the labels are.
        classes: Names of 1, 2, ...; None for those of the file, or of the public scene of that name.
        purest: Least abundance of a labelled pixel, above 0 to 1; see `labels.from_abundances`.

    Raises:
        DataError: a file cannot be read, or the two do not fit. UsageError: an argument does not fit.
        EnvironmentFault: MATLAB files of version 7.3 need the extra `matlab`.
    """
    if labels is None:
        if variable or label_variable or not has_abundances(cube):
            chosen = variable or label_variable
            raise UsageError("the labels must be named", where=cube, why="the file holds no abundances" if not chosen
                             else f"the array {chosen} of the file is asked for, not its abundances",
                             fix="name the label file too: --labels, or scene.labels")
        values, shares = read_abundances(cube, purest=purest)
        spectra = prepare_cube(values, wavelengths=wavelengths, drop_bands=drop_bands, no_data=no_data, white=white,
                               dark=dark, choose=choose, usual_no_data=usual_no_data)
        truth = shares if classes is None else replace(shares, classes=tuple(classes))
        return joined(cube.stem, spectra, truth)
    if purest is not None:
        raise UsageError("purest is for abundances", where=labels, why="the labels are a file of numbers",
                         fix="leave it out")
    spectra = open_cube(cube, variable=variable, wavelengths=wavelengths, drop_bands=drop_bands, no_data=no_data,
                        white=white, dark=dark, choose=choose, usual_no_data=usual_no_data)
    known = public_scene(labels) if classes is None else None
    truth = read_labels(labels, variable=label_variable, classes=known.classes if known else classes)
    if known and known.doubt:
        truth = replace(truth, notes=(*truth.notes, known.doubt))
    return joined(known.name if known else cube.stem, spectra, truth)


def find_scene(path: Path, **options: Any) -> Scene:
    """Return the one scene of a folder, or the scene of a cube whose labels lie beside it.

    Labels are found by their name: that of the cube with _gt, _labels or _groundtruth at its end, with or without
    _corrected in the cube's own. Other pairs are for `open_scene`.

    Args:
        path: A folder, or the file of a cube.
        options: Those of `open_scene`.

    Raises:
        DataError: there is no scene, or several; the message lists what was found. And as `open_scene`.
    """
    if not path.exists():
        raise DataError("there is no such file or folder", where=path, fix="check the path")
    if not path.is_dir():
        check_kind(path)
    pairs = list(_scenes_of(path))
    if len(pairs) == 1:
        return open_scene(*pairs[0], **options)
    if not pairs:
        raise DataError(f"no {'cube with labels' if path.is_dir() else 'labels for the cube'}", where=path,
                        why=_missing(path),
                        fix=f"name both files, or call the labels as the cube with {ENDINGS[0]} at the end")
    found = "; ".join(cube.name if labels is None else f"{cube.name} with {labels.name}" for cube, labels in pairs)
    raise DataError(f"{len(pairs)} scenes could be meant", where=path, why=found, fix="name both files of one")


def is_scene(path: Path) -> bool:
    """Return whether a path is a cube, a folder that holds one with its labels, or a table of cubes."""
    if path.is_dir():
        return any(_scenes_of(path))
    return path.suffix.lower() in CUBE_SUFFIXES or is_cube_table(path)


def joined(name: str, cube: Cube, labels: LabelMap) -> Scene:
    """Return the scene, its pixels without data unlabelled."""
    check_pair(cube, labels)
    if cube.valid is not None and (lost := int(np.count_nonzero(labels.values[~cube.valid]))):
        values = np.where(cube.valid, labels.values, 0).astype(np.int32)
        note = f"{lost} labelled pixels hold no data: unlabelled"
        labels = replace(labels, values=values, notes=(*labels.notes, note))
    return Scene(name=name, cube=cube, labels=labels)


def _scenes_of(path: Path) -> Iterator[tuple[Path, Path | None]]:
    """Return cubes and their labels: those of a folder, or those of one cube."""
    files = _files(path if path.is_dir() else path.parent)
    for cube in files if path.is_dir() else [path]:
        if cube.suffix.lower() in CUBE_SUFFIXES:
            labels = [file for file in files if _is_label(file) and _is_of(file, cube)]
            if labels:
                yield from ((cube, file) for file in labels)
            elif not _is_label(cube) and has_abundances(cube):
                yield cube, None


def _missing(path: Path) -> str:
    """Return why there is no scene: what a folder has, or what does not lie beside a cube."""
    if path.is_dir():
        names = [file.name for file in _files(path)]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"the folder has {', '.join(names[:SHOWN]) or 'no file of a known kind'}{more}"
    beside = next((file for file in sorted(path.parent.iterdir()) if file.is_file()
                   and _stem(file).endswith(ENDINGS) and _is_of(file, path)), None)
    if beside is not None:
        return f"{beside.name} lies beside it, and labels are read from {', '.join(LABEL_SUFFIXES)}"
    return f"none of {', '.join(path.stem + ending for ending in ENDINGS)} lies beside it"


def _files(folder: Path) -> list[Path]:
    """Return the files that may be a cube or labels; of an ENVI pair the header."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")
             and file.suffix.lower() in (*CUBE_SUFFIXES, *LABEL_SUFFIXES)]
    headed = {file.stem.lower() for file in files if file.suffix.lower() == ".hdr"}
    kinds = (".mat", ".npy", ".npz", ".png", ".tif", ".tiff", ".bmp", ".hdr")
    return [file for file in files
            if file.suffix.lower() in kinds or not {file.stem.lower(), file.name.lower()} & headed]


def _stem(file: Path) -> str:
    return file.stem.lower()


def _is_label(file: Path) -> bool:
    return _stem(file).endswith(ENDINGS) and file.suffix.lower() in LABEL_SUFFIXES


def _is_of(labels: Path, cube: Path) -> bool:
    """Return whether labels have the name of a cube; a cube that is itself called like labels has its whole name."""
    return _base(labels) in ((_stem(cube),) if _stem(cube).endswith(ENDINGS) else (_stem(cube), _base(cube)))


def _base(file: Path) -> str:
    """Return what the names of a cube and its labels have in common."""
    stem = _stem(file)
    ending = next((ending for ending in (*ENDINGS, CORRECTED) if stem.endswith(ending)), "")
    return stem.removesuffix(ending)
