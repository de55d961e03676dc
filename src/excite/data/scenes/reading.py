"""A cube from a file of any known kind, ready to learn from: bad bands gone, calibrated, gaps marked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from excite.data.scenes.array import read_npy, read_npz
from excite.data.scenes.cube import BandChoice, Cube, shortened
from excite.data.scenes.envi import ENVI_SUFFIXES, read_envi
from excite.data.scenes.envi_header import bad_bands, ignored_value
from excite.data.scenes.gaps import NoData, mark_gaps
from excite.data.scenes.matlab import read_array
from excite.errors import DataError, UsageError

CUBE_SUFFIXES = (".mat", ".npy", ".npz", *ENVI_SUFFIXES)
TIFF = (".tif", ".tiff")


def open_cube(path: Path, *, variable: str | None = None, wavelengths: Sequence[float] | None = None,
              drop_bands: Sequence[int] = (), no_data: NoData = None, white: Path | None = None,
              dark: Path | None = None, choose: BandChoice | None = None, usual_no_data: NoData = None) -> Cube:
    """Return the cube in a file: rows, columns, bands.

    .npy and raw ENVI files are mapped, not read; of .mat and .npz only the array that is meant is. Bands that an ENVI
    header marks as bad are dropped, and its `data ignore value` is the no-data value, unless another is given.

    Args:
        path: .mat, .npy, .npz, or an ENVI image (its .hdr or its raw file).
        variable: Which array of a .mat or .npz file; None where only one has three axes.
        wavelengths: In nanometres, for all bands of the file; they replace those of a header.
        drop_bands: Numbers of bands to leave out, from 0.
        no_data: Value of pixels that hold no data, or "nan"; see `gaps.mark_gaps`.
        white: White reference, recorded as the cube was; needs `dark`.
        dark: Dark reference.
        choose: Which of the bands that are left are taken, before gaps are looked for.
        usual_no_data: The value of pixels without data where neither `no_data` nor the header says.

    Raises:
        DataError: the file cannot be read, or its values are not fit for use as they are.
        UsageError: an argument does not fit the file.
        EnvironmentFault: MATLAB files of version 7.3 need the extra `matlab`.
    """
    return prepare_cube(_read(path, variable), wavelengths=wavelengths, drop_bands=drop_bands, no_data=no_data,
                        white=white, dark=dark, choose=choose, usual_no_data=usual_no_data)


def prepare_cube(cube: Cube, *, wavelengths: Sequence[float] | None = None, drop_bands: Sequence[int] = (),
                 no_data: NoData = None, white: Path | None = None, dark: Path | None = None,
                 choose: BandChoice | None = None, usual_no_data: NoData = None) -> Cube:
    """Return a cube as `open_cube` does, for one that is read already."""
    if (white is None) != (dark is None):
        raise UsageError("white and dark must be given together", fix=f"name the {'white' if dark else 'dark'} one too")
    if wavelengths is not None:
        cube = replace(cube, wavelengths=tuple(float(number) for number in wavelengths))
    value = no_data if no_data is not None or not cube.header else ignored_value(cube.header, Path(cube.source))
    value = usual_no_data if value is None else value
    kept, notes = _kept(cube, drop_bands)
    if choose is not None:
        kept, more = choose(cube, kept)
        notes += more
    references = [_reference(file, cube, kept) for file in (white, dark) if file is not None]
    if kept != list(range(cube.bands)):
        cube = replace(cube.with_bands(kept), notes=(*cube.notes, *notes))
    cube = mark_gaps(cube, no_data=value, numbers=kept)
    return cube.calibrated(*references) if references else cube


def check_kind(path: Path) -> None:
    """Refuse a file whose suffix is that of no cube.

    Raises:
        DataError: says what is read instead.
    """
    suffix = path.suffix.lower()
    if suffix in TIFF:
        raise DataError(f"hyperspectral cubes are not read from {suffix} files", where=path,
                        fix="convert it to ENVI (gdal_translate -of ENVI IN.tif OUT.img), or save its array (rows, "
                        "columns, bands) as .npy or .mat")
    if suffix and suffix not in CUBE_SUFFIXES:
        raise DataError(f"cubes of kind {suffix!r} cannot be read", where=path,
                        fix=f"known: {', '.join(CUBE_SUFFIXES)}")


def _read(path: Path, variable: str | None) -> Cube:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError("is a folder, no file" if path.is_dir() else "the file does not exist", where=path,
                        fix="name the file of the cube")
    check_kind(path)
    if variable is not None and suffix not in (".mat", ".npz"):
        raise UsageError(f"variable {variable!r} cannot be chosen", where=path, why="the file holds one array only",
                         fix="leave variable out")
    if suffix == ".mat":
        return Cube(values=read_array(path, variable, axes=3), source=str(path))
    if suffix == ".npy":
        return Cube(values=read_npy(path), source=str(path))
    if suffix == ".npz":
        return Cube(values=read_npz(path, variable, axes=3), source=str(path))
    return read_envi(path)


def _kept(cube: Cube, drop_bands: Sequence[int]) -> tuple[list[int], list[str]]:
    """Return the bands to keep, and why the others are dropped."""
    dropped, where = sorted({int(band) for band in drop_bands}), Path(cube.source)
    if dropped and not 0 <= dropped[0] <= dropped[-1] < cube.bands:
        raise UsageError(f"drop_bands must be from 0 to {cube.bands - 1}, got {shortened(dropped)}", where=where)
    bad = bad_bands(cube.header, where) if cube.header else ()
    kept = [band for band in range(cube.bands) if band not in {*dropped, *bad}]
    if not kept:
        raise UsageError(f"all {cube.bands} bands are dropped", where=where, fix="keep some")
    notes = [f"bands dropped as asked: {shortened(dropped)}"] if dropped else []
    return kept, notes + ([f"bands dropped that the header marks as bad: {shortened(bad)}"] if bad else [])


def _reference(file: Path, cube: Cube, kept: list[int]) -> Cube:
    reference = _read(file, None)
    if reference.bands != cube.bands:
        raise DataError(f"the reference has {reference.bands} bands, the cube {cube.bands}", where=file,
                        fix="record it with the same settings")
    return reference.with_bands(kept)
