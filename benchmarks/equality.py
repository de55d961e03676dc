"""Every network beside the public ones: counts, and the largest difference of outputs. Writes docs/equality.md.

    .venv-peers/bin/python benchmarks/equality.py docs/equality.md

In float64, with random affine weights and measured statistics, on images that change the output by more than 1 %; the
public network's weights enter ours by its key names. No package has most of the networks in 3-D: there the weights of
our own 2-D network are inflated, and a volume that repeats an image is compared with the image.
"""

import copy
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch  # noqa: E402

import peers  # noqa: E402, F401
from excite.models.classifier import create_model  # noqa: E402
from excite.models.cost import count  # noqa: E402
from excite.models.published import ROWS, Published, figure  # noqa: E402
from excite.models.registry import BACKBONES  # noqa: E402
from excite.weights.inflate import inflate  # noqa: E402
from excite.weights.load import load_weights  # noqa: E402
from lively import assert_sees_its_input, lively, varied_images  # noqa: E402
from references import PAIRS, Pair, cbam_names, resnet50_with_cbam  # noqa: E402

SIZES = {2: (224, 224), 3: (16, 112, 112)}
HEAD = """# Ours beside the public ones

Written by `.venv-peers/bin/python benchmarks/equality.py docs/equality.md`, {date}, torch {torch}; the packages:
{packages}.

- **parameters**, **MACs**: at 1000 classes, or at the classes and with the options that the published figure is for.
  "of" stands before what the source says; a rounded figure is met within its rounding, or `models/published.py` says
  why not.
- **difference**: max |ours - theirs| / max |theirs| of the logits, float64, random affine weights, measured
  statistics; the outputs change by more than 1 % with the input. The largest over the sizes named in
  `tests/references.py`.
- **image**: the 3-D network with the 2-D one's weights in its middle slices, given a volume of five equal slices,
  against the 2-D network given the slice.

| network | input | parameters | MACs | published by | difference |
| --- | --- | --- | --- | --- | --- |
"""


def measured(pair: Pair) -> float:
    """Return the largest relative difference between a public network and ours."""
    ours, worst = create_model(pair.name, **pair.options).double().eval(), 0.0
    for size in pair.sizes:
        images = varied_images(pair.images, size=size)
        reference = pair.reference(images)
        report = load_weights(ours, reference.state_dict())
        assert (report.percent, report.part) == (100, "all"), report.text()
        with torch.no_grad():
            expected = reference(images)
            assert_sees_its_input(expected)
            worst = max(worst, float((ours(images) - expected).abs().max() / expected.abs().max()))
    return worst


def as_an_image(name: str) -> float:
    """Return the largest relative difference between the 3-D network on a repeated slice and the 2-D one on it."""
    torch.manual_seed(0)
    images = varied_images(2)
    flat = lively(create_model(name, num_classes=10), images)
    deep = create_model(name, dims=3, num_classes=10).double().eval()
    deep.load_state_dict(inflate(copy.copy(flat.state_dict()), deep))
    with torch.no_grad():
        expected = flat(images)
        assert_sees_its_input(expected)
        found = deep(images.unsqueeze(2).expand(-1, -1, 5, -1, -1).contiguous())
    return float((found - expected).abs().max() / expected.abs().max())


def published(name: str, dims: int) -> Published:
    """Return the first row of a network in so many dimensions, one with a count before others, or an empty one."""
    rows = sorted((row for row in ROWS if row.network == name and row.dims == dims), key=lambda row: not row.parameters)
    plane = (32, 32) if "resnet20" in name else SIZES[dims][-2:]
    return next(iter(rows), Published(name, None, None, "-", size=(3, *SIZES[dims][:-2], *plane)))


def counted(name: str, dims: int, row: Published) -> tuple[str, str]:
    """Return our parameters and multiply-adds for a row, with what the source says and what they are for."""
    with torch.device("meta"):
        model = create_model(name, dims=dims, in_channels=row.size[0], num_classes=row.classes, **dict(row.options))
    cost = count(model, row.size)
    said = [f"{row.classes} classes"] * (row.classes != 1000) + [f"{key}={value}" for key, value in row.options]
    said = f" ({', '.join(said)})" if said else ""
    return (f"{cost.parameters:,}{_of(row.parameters)}{said}", f"{cost.macs / 1e6:,.1f} M{_of(row.macs)}")


def _of(figured: float | None) -> str:
    return "" if figured is None else f" of {figure(figured)}"


def cbam() -> float:
    """Return the largest relative difference from torchvision's ResNet-50 with timm's CBAM in every block."""
    images = varied_images(4)
    theirs = lively(resnet50_with_cbam(), images)
    ours = create_model("cbam_resnet50", num_classes=7).double().eval()
    forms = {key: value for key, value in ours.state_dict().items() if key.endswith(("form", "position"))}
    ours.load_state_dict(cbam_names(theirs.state_dict()) | forms)
    with torch.no_grad():
        expected = theirs(images)
        assert_sees_its_input(expected)
        return float((ours(images) - expected).abs().max() / expected.abs().max())


def main(out: Path) -> None:
    """Measure everything and write the page."""
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("torchvision", "timm", "monai", "pretrainedmodels"))
    lines = []
    for name in BACKBONES:
        for dims in (2, 3):
            found = [f"{pair.label} {measured(pair):.1e}" for pair in PAIRS if (pair.name, pair.dims) == (name, dims)]
            found += [f"image {as_an_image(name):.1e}"] if dims == 3 else []
            if (name, dims) == ("cbam_resnet50", 2):
                found.append(f"torchvision resnet50 with timm CbamModule {cbam():.1e}")
            row = published(name, dims)
            parameters, macs = counted(name, dims, row)
            lines.append(f"| `{name}` | {' x '.join(map(str, row.size))} | {parameters} | {macs} | {row.source} | "
                         f"{'; '.join(found) or 'in no package: see its tests'} |")
            print(lines[-1], flush=True)
    head = HEAD.format(date=date.today(), torch=torch.__version__, packages=packages)
    out.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
