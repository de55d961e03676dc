"""Explain what a bundle says of files: pictures at the files' own size, how far to trust them, and one page."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from excite.data.sections import DataSection
from excite.deploy.bundle import BundleInfo, find_bundle, read_bundle
from excite.errors import DataError, UsageError
from excite.jobs.explain.entry import BATCH, CHECKED, SHOWN, Entry, How
from excite.jobs.explain.found import Method
from excite.jobs.run_folder import written
from excite.jobs.volumes.folds.bundles import bundles_of
from excite.models.measure import using_threads
from excite.report.explain_page import ExplainData, ShownExplanation, write_explain_page

INFO, PAGE = "explanations.json", "explain.html"
WORDS = {"gradcam": "Grad-CAM: where a layer saw what speaks for the answer",
         "occlusion": "Occlusion: by how much the answer falls while a part is hidden",
         "integrated": "Integrated gradients: what each band adds to the answer, from the mean spectrum on"}


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What an explanation did.

    Args:
        folder: Where the pictures are.
        page: The page about them; None where none was asked for.
        n: Files asked for.
        failed: Those that could not be used; the first ones are in `errors`.
        counts: Files of each class that was explained.
        doubted: Checked pictures that are not to be read, of `checked`.
    """

    folder: Path
    page: Path | None
    n: int
    failed: int
    errors: tuple[str, ...]
    counts: dict[str, int]
    checked: int
    doubted: int

    def raise_failures(self) -> None:
        """Raise a DataError (exit code 3) where a file could not be used; the rest was done."""
        if self.failed:
            whole = self.failed == self.n
            raise DataError("no file could be used: nothing was explained" if whole else
                            f"{self.failed} of {self.n} files could not be used", why="; ".join(self.errors),
                            fix=None if whole else "mend or leave out these files; the others are explained")


def explain_files(bundle: str | Path, inputs: Sequence[str | Path], *, out: Path, label: str | None = None,
                  method: Method | None = None, layer: str | None = None, checks: int | None = None, page: bool = True,
                  columns: DataSection | None = None, cube: dict[str, Any] | None = None,
                  threads: int | None = None, batch_size: int = BATCH,
                  each: Callable[[Entry], None] | None = None) -> Explained:
    """Explain what a network says of each file, and write pictures, explanations.json and a page.

    Args:
        bundle: A bundle folder, or a run folder.
        inputs: As `excite predict` takes them: images, folders, tables; tables of patients or MAP=FILE; scans; cubes.
        out: A new or empty folder, or one of earlier explanations.
        label: Class that is explained; None: the predicted one.
        method: "gradcam", or "occlusion", which asks the network many times and needs no gradients; of cubes
            "integrated" gradients, or "occlusion". None: the first of these.
        layer: Of Grad-CAM; None: the last maps before the pooling, of a network for masks its narrowest.
        checks: So many of the first pictures are checked: against random weights, and by deletion. None: 3 of images,
            1 of volumes and cubes.
        page: Write explain.html.
        columns: How to read tables.
        cube: How to read cubes, by the names of `open_cube`.
        threads: CPU threads; None: all usable cores.
        batch_size: Images at once.
        each: Called with every explanation.

    Raises:
        ModelError: the bundle cannot be used, or torch and its ONNX file disagree. UsageError: no such class, method or
            layer, or `out` holds other files. DataError: there is nothing to explain, or a table cannot be read.

    Source: Grad-CAM, arXiv:1610.02391; the checks, arXiv:1810.03292 and arXiv:1806.07421.
    """
    if (checks is not None and checks < 0) or batch_size < 1:
        raise UsageError(f"checks must be at least 0 and batch_size at least 1, got {checks} and {batch_size}")
    if folds := bundles_of(Path(bundle)):
        raise UsageError(f"a cross-validation has a network for each of its {len(folds)} folds", where=Path(bundle),
                         fix=f"explain one of them: {folds[0].parent}")
    info = read_bundle(find_bundle(Path(bundle)))
    how = How(label=label, method=method or ("integrated" if info.task == "scene" else "gradcam"), layer=layer,
              checks=CHECKED.get(info.task, 3) if checks is None else checks, threads=threads,
              batch_size=batch_size, columns=columns or DataSection(), cube=cube or {})
    _check_folder(out)
    entries, counts, errors = list[Entry](), Counter[str](), list[str]()
    kept: list[dict[str, Any]] = []
    checked = doubted = 0
    with using_threads(threads):
        for one in _entries(info, Path(bundle), inputs, out, how):
            entries += [one] if len(entries) < SHOWN else []
            kept.append(one.to_json())
            if len(kept) == 1:  # an explanation that is cut off can be begun again in the same folder
                _write(out / INFO, info, how, kept)
            errors += [one.error] if one.error else []
            counts[one.explained] += not one.error
            if one.checks is not None:
                checked += 1
                doubted += not one.checks.deletion.passed or one.checks.randomisation.passed is False
            if each is not None:
                each(one)
    _write(out / INFO, info, how, kept)
    return Explained(folder=out, page=_page(out, info, how, entries, len(kept)) if page else None, n=len(kept),
                     failed=len(errors), errors=tuple(errors[:3]), counts={k: v for k, v in counts.items() if v},
                     checked=checked, doubted=doubted)


def _entries(info: BundleInfo, bundle: Path, inputs: Sequence[str | Path], out: Path, how: How
             ) -> Iterator[Entry]:
    """Return the explanations by the kind of work."""
    if info.task == "volumes":
        from excite.jobs.explain.patients import explain_patients

        return explain_patients(bundle, list(map(str, inputs)), out, how)
    if info.task == "volume_masks":
        from excite.jobs.explain.scans import explain_scans

        return explain_scans(bundle, list(map(str, inputs)), out, how)
    if info.task == "scene":
        from excite.jobs.explain.cubes import explain_cubes

        return explain_cubes(bundle, list(map(str, inputs)), out, how)
    from excite.jobs.explain.images import explain_images

    return explain_images(bundle, inputs, out, how)


def _check_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INFO).is_file())):
        raise UsageError("the folder holds other files and no explanations", where=out,
                         fix="name an empty or a new folder with --out")


def _write(file: Path, info: BundleInfo, how: How, kept: Sequence[dict[str, Any]]) -> None:
    tree = {"bundle": info.name, "task": info.task, "classes": list(info.classes), "method": how.method,
            "created": datetime.now(UTC).isoformat(timespec="seconds"), "explanations": list(kept)}
    with written(file, what="the explanations", otherwise="choose another folder with --out"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8",
                        newline="\n")


def _page(out: Path, info: BundleInfo, how: How, entries: Sequence[Entry], n: int) -> Path:
    shown = [ShownExplanation(
        file=one.file, predicted=one.predicted, explained=one.explained, probability=one.probability, layer=one.layer,
        picture=one.picture, notes=one.notes, error=one.error,
        checks=None if one.checks is None else one.checks.to_json(),
        bands=None if one.bands is None else {"unit": one.bands.unit, "places": list(one.bands.places),
                                              "importance": one.bands.importance.tolist()}) for one in entries]
    return write_explain_page(out / PAGE, ExplainData(
        title=f"What {info.name} says, and where it looked", method=WORDS[how.method], task=info.task, n=n, shown=shown,
        created=datetime.now(UTC).isoformat(timespec="seconds")))
