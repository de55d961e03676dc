"""`excite check`: what is wrong with a table of images, before anything is trained on it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from excite.cli.columns import ExistingOnly, GroupCol, ImageCol, LabelCol, Layout, PatientCol, PatientFrom, Root
from excite.cli.talk import emit, say

if TYPE_CHECKING:
    from excite.data.check import CheckReport
    from excite.data.fault import Fault

SHOWN = 10  # faults of a kind


def check(
    table: Annotated[Path, typer.Argument(help="CSV table or folder of images, or a table of volumes.")],
    write_clean: Annotated[Path | None, typer.Option(help="Write the table without what must go.")] = None,
    root: Root = None,
    image_col: ImageCol = None,
    label_col: LabelCol = None,
    patient_col: PatientCol = None,
    group_col: GroupCol = None,
    patient_from: PatientFrom = None,
    layout: Layout = None,
    existing_only: ExistingOnly = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Find all faults of a table of images or volumes in one pass: files, labels, masks, duplicates, leaks.

    The exit code is 3 where training would be wrong, 0 where there are warnings at most or --write-clean dropped what
    was wrong.

    \b
    Examples:
      excite check table.csv
      excite check busi/ --write-clean clean.csv
      excite check FETAL_PLANES_DB_data.csv --label-col Plane --patient-col Patient_num --json
    """
    from excite.data.volumes.mask_table import is_mask_table
    from excite.data.volumes.volume_table import is_volume_table

    if is_mask_table(table):
        from excite.cli.scenes import refuse
        from excite.cli.volume_masks import check_mask_table

        refuse({"--write-clean": write_clean, "--root": root, "--layout": layout, "--image-col": image_col,
                "--label-col": label_col, "--group-col": group_col, "--patient-from": patient_from,
                "--existing-only": existing_only}, "images")
        check_mask_table(table, patient_col=patient_col, json=json)
        return
    if is_volume_table(table):
        from excite.cli.scenes import refuse
        from excite.cli.volumes import check_table

        refuse({"--write-clean": write_clean, "--root": root, "--layout": layout, "--image-col": image_col,
                "--group-col": group_col, "--patient-from": patient_from, "--existing-only": existing_only}, "images")
        check_table(table, label_col=label_col, patient_col=patient_col, json=json)
        return
    from excite.data.check import check as check_data
    from excite.data.sections import DataSection
    from excite.progress import spoken

    section = DataSection(table=table, root=root, layout=layout or "auto", image_col=image_col, label_col=label_col,
                          patient_col=patient_col, group_col=group_col, patient_from=patient_from,
                          existing_only=bool(existing_only))
    report = check_data(section, progress=spoken())
    mended = _write(report, write_clean) if write_clean else False
    _tell(report)
    typed = {"--root": root, "--layout": layout, "--image-col": image_col, "--label-col": label_col,
             "--patient-col": patient_col, "--group-col": group_col, "--patient-from": patient_from}
    words = [str(table), *(word for flag, value in typed.items() if value is not None for word in (flag, str(value))),
             *(["--existing-only"] if existing_only else [])]
    if write_clean and mended:
        say(f"{write_clean}: {len(report.clean.rows)} rows\nnext: excite train {shlex.quote(str(write_clean))}")
    else:
        say("next: " + _next(report, table, " ".join(map(shlex.quote, words))))
    if json:
        emit(report.to_json())
    if report.errors and not mended:
        raise typer.Exit(3)


def _write(report: "CheckReport", file: Path) -> bool:
    """Write the clean table, unless no dropping of rows makes one; say what went and why."""
    if not report.mendable:
        say(f"{file} is not written: dropping rows does not mend the table")
        return False
    report.clean.write_csv(file)
    say(f"\n{len(report.dropped)} rows dropped:" if report.dropped else "\nnothing had to be dropped")
    for row, reason in report.dropped:
        say(f"  row {row.line} {row.image}: {reason}")
    return True


def _next(report: "CheckReport", table: Path, words: str) -> str:
    """Return what to do next; `words` are the table and the options as they were typed."""
    if not report.errors:
        return f"excite train {words}"
    if report.mendable:
        write = f"excite check {words} --write-clean clean.csv   (drops what must go, and lists it)"
        asked = any("did you mean" in fault.message for fault in report.errors)
        return f"correct what is asked about above (did you mean ...?), then\n      {write}" if asked else write
    messages = {fault.kind: fault.message for fault in report.beyond_rows}
    again = f"excite check {words}"
    if "encoding" in messages and "NUL" not in messages["encoding"]:
        copy = shlex.quote(str(table.with_name(f"{table.stem}-utf8{table.suffix}")))
        return f"iconv -f CP1252 -t UTF-8 {shlex.quote(str(table))} > {copy}   (then check {copy})"
    missing = messages.get("missing-column", "")
    if missing and "looks like data" not in missing:
        columns = [role for role in ("image", "label") if any(
            fault.kind == "missing-column" and f"--{role}-col" in fault.message for fault in report.beyond_rows)]
        return " ".join([again, *(f"--{role}-col NAME" for role in columns)]) + "   (NAME: one of the columns above)"
    kinds = ", ".join(messages) or "too little is left without what must go"
    return f"mend the table as said above ({kinds}; dropping rows does not), then {again}"


def _tell(report: "CheckReport") -> None:
    """Say the faults by kind, and the counts."""
    for note in report.notes:
        say(f"note: {note}")
    kinds: dict[tuple[str, str], list[Fault]] = {}
    for fault in report.faults:
        kinds.setdefault((fault.severity, fault.kind), []).append(fault)
    for (severity, kind), faults in kinds.items():
        say(f"\n{severity} {kind}: {len(faults)}")
        for fault in faults[:SHOWN]:
            say(f"  {f'row {fault.row}: ' if fault.row is not None else ''}{fault.message}")
        if len(faults) > SHOWN:
            say(f"  and {len(faults) - SHOWN} more; --json lists all")
    if report.counts["rows"]:
        say("\n" + "\n".join(_counts(report)))
    warnings = len(report.faults) - len(report.errors)
    say(f"\n{len(report.errors)} errors, {warnings} warnings")


def _counts(report: "CheckReport") -> list[str]:
    """Return a line for the rows, a table of classes by split, and lines on patients and duplicates."""
    counts = report.counts
    lines = [f"{counts['rows']} rows, {counts['readable']} readable images"]
    splits = [part for part in ("train", "val", "test") if part in counts["splits"]]
    width = max([len(name) for name in counts["classes"]] + [5])
    if counts["classes"]:
        lines.append("  ".join([f"{'class':<{width}}", f"{'images':>7}", *(f"{part:>7}" for part in splits)]))
    for name, number in counts["classes"].items():
        cells = [counts["classes_by_split"][part].get(name, 0) for part in splits]
        lines.append("  ".join([f"{name:<{width}}", f"{number:>7}", *(f"{cell:>7}" for cell in cells)]))
    patients = counts["patients"]
    if patients:
        each = sorted(patients.values())
        by_split = "".join(f", {part} {counts['patients_by_split'][part]}" for part in splits)
        lines.append(f"{len(patients)} patients with {each[0]} to {each[-1]} images{by_split}")
    lines.append(f"{counts['units']} units ({counts['unit_kind']}) that stay together in a split")
    lines.append(f"{counts['same_picture_pairs']} pairs with the same pixels, {counts['near_duplicate_pairs']} pairs "
                 f"of near duplicates, {counts['images_with_near_duplicates']} images in them")
    if counts["masks"]:
        lines.append(f"{counts['masks']} images with masks: {counts['empty_masks']} empty, {counts['outlines']} that "
                     "look like outlines along an ellipse")
    return lines
