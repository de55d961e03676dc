"""The studies of docs/studies: make their tables from the public data and run them with `excite study`.

Usage: python benchmarks/studies.py DATA OUT [--only cifar10 busi heads] [--weights FILE] [--set KEY=VALUE ...]
           [--draw docs/studies]

DATA holds cifar10/ (cifar10_train.zip and cifar10_test.zip with PART/CLASS/NAME.jpg), busi/ and hc18/ as published.
The same call again goes on. Settings are in configs/studies/. --draw writes each study's two drawings there, out of its
page; the tables of docs/studies are those of OUT/NAME/study.md.
"""

import argparse
import csv
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import excite

SVG = "http://www.w3.org/2000/svg"
CONFIGS = Path(__file__).parents[1] / "configs" / "studies"


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("data", type=Path)
    told.add_argument("out", type=Path)
    told.add_argument("--only", nargs="+", choices=("cifar10", "busi", "heads"), default=("cifar10", "busi", "heads"))
    told.add_argument("--weights", help="of ImageNet's MobileNetV2, where they are not in the store")
    told.add_argument("--draw", type=Path, help="folder for the drawings")
    told.add_argument("--set", nargs="*", default=[], help="any config key")
    asked = told.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.only:
        table, more = globals()[f"table_of_{name}"](asked.data.resolve(), asked.out)
        if asked.weights and name != "cifar10":
            more += ["--weights", asked.weights]
        run("study", table, "--config", CONFIGS / f"{name}.yaml", "--out", asked.out / name, *more,
               *(word for one in asked.set for word in ("--set", one)))
        if asked.draw:
            draw(asked.out / name / "study.html", asked.draw, name)


def draw(page: Path, folder: Path, name: str) -> None:
    """Write the drawings of a study's page as files of their own, on white."""
    style = (Path(excite.__file__).parent / "report" / "style.css").read_text(encoding="utf-8")
    colours = re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", style.partition("}")[0])
    for drawing in re.findall(r"<svg class=\"figure\".*?</svg>", page.read_text(encoding="utf-8"), flags=re.S):
        what = "differences" if 'aria-label="Differences' in drawing else "front"
        for variable, colour in colours:
            drawing = drawing.replace(f"var({variable})", colour)
        text = drawing.replace("<svg ", f'<svg xmlns="{SVG}" style="background:#fff" ', 1)
        (folder / f"{name}_{what}.svg").write_text(text, encoding="utf-8", newline="\n")


def table_of_cifar10(data: Path, out: Path) -> tuple[Path, list[str]]:
    """Return a table of the pictures in the two archives, and where they are."""
    rows = [(f"cifar10_{part}.zip#{name}", name.split("/")[1], part) for part in ("train", "test")
            for name in zipfile.ZipFile(data / "cifar10" / f"cifar10_{part}.zip").namelist() if name.endswith(".jpg")]
    table = out / "cifar10.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "split"), *rows])
    return table, ["--root", str(data / "cifar10")]


def table_of_busi(data: Path, out: Path) -> tuple[Path, list[str]]:
    """Return the table without pictures that have two labels."""
    table = out / "busi.csv"
    if not table.exists():
        run("check", data / "busi", "--write-clean", table, expected=(0, 3))
    return table, []


def table_of_heads(data: Path, out: Path) -> tuple[Path, list[str]]:
    """Return the folder as it is."""
    return data / "hc18", []


def run(*words: object, expected: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run([sys.executable, "-m", "excite", *map(str, words)])
    if done.returncode not in expected:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
