"""What the trained gates of MobileNetV3-small do on real photos, what each layer is worth, and what folding wins.

    python benchmarks/gates.py DATA [--out FOLDER]     DATA has weights/ and imagenet_sample/

The weights are an 8-bit network's, so its padding is TensorFlow's. One thread. With --out the figures of the study.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import excite
from excite.deploy.export import export
from excite.deploy.session import open_session
from excite.explain.fold import fold_gates
from excite.explain.gate_ablation import GateCost, gate_costs, label_scores, scores_of
from excite.explain.gate_statistics import LayerGates, gate_statistics
from excite.explain.gates import gate_layers, replaced
from excite.models.cost import count
from excite.models.measure import interleaved

BATCH = 50
STEPS = (2, 3, 4, 5, 9)  # layers folded, the cheapest first
TIMED = ("0", "2", "9")  # of these are timed


def photo(file: Path) -> np.ndarray:
    """Return what the weights' page says: short side 256, bilinear, the centre 224, -1 to 1."""
    image = Image.open(file).convert("RGB")
    image = image.resize([int(256 * side / min(image.size)) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (round((side - 224) / 2) for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return ((pixels - 127.5) / 127.5).transpose(2, 0, 1)


def photos(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Return the 300 photos and their classes in batches."""
    with (folder / "imagenet_sample.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    images = torch.from_numpy(np.stack([photo(folder / row["image"]) for row in rows]))
    labels = torch.tensor([int(row["class_index"]) for row in rows])
    return list(zip(images.split(BATCH), labels.split(BATCH), strict=True))


def table(head: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows), flush=True)


def short(name: str) -> str:
    return name.removeprefix("backbone.stages.").removesuffix(".attention")


def told(layers: list[LayerGates]) -> None:
    table(["layer", "gates", "mean", "5 %", "median", "95 %", "always 0", "always 1", "constant", "live", "highest std",
           "variance over photos"],
          [[short(one.name), str(len(one.states)), f"{one.mean.mean():.2f}",
            *(f"{one.quantiles[place]:.2f}" for place in (0.05, 0.5, 0.95)),
            *(str(one.states.count(state)) for state in ("dead", "saturated", "constant", "live")),
            f"{one.std.max():.2f}", f"{100 * one.share_of_inputs:.0f} %"] for one in layers])


def lost(costs: list[GateCost], names: list[str]) -> None:
    found = {(one.name, one.how): one.lost for one in costs}
    table(["layer", "accuracy lost, mean", "log likelihood lost, mean", "accuracy lost, off",
           "log likelihood lost, off"],
          [[short(name), *(found[name, how][key].text() for how in ("mean", "one")
                           for key in ("accuracy", "log_likelihood"))] for name in names])


def work(model: nn.Module, image: Tensor, folder: Path, name: str) -> Callable[[], object]:
    """Return a call of the network in ONNX Runtime, one thread."""
    export(model, folder / f"{name}.onnx", size=(224, 224), channels=3)
    session = open_session(folder / f"{name}.onnx", threads=1)
    given = {session.get_inputs()[0].name: image.numpy()}
    return lambda: session.run(None, given)


@torch.inference_mode()
def folded(model: nn.Module, batches: list[tuple[Tensor, Tensor]], layers: list[LayerGates],
           costs: list[GateCost]) -> None:
    """Print what is lost as layer after layer becomes its mean, and the milliseconds of some of these networks."""
    lost = {one.name: one.lost["log_likelihood"].value or 0.0 for one in costs if one.how == "mean"}
    order = sorted(lost, key=lambda name: lost[name])
    means = {one.name: torch.from_numpy(one.mean) for one in layers}
    image, networks, rows = batches[0][0][:1], {"0": model}, []
    own = torch.cat([model(images) for images, _ in batches]).softmax(1)
    for number in STEPS:
        done = fold_gates(model, {name: means[name] for name in order[:number]}, image)
        assert not done.left, done.left
        logits = torch.cat([done.model(images) for images, _ in batches])
        scores = label_scores(logits, torch.cat([labels for _, labels in batches]))
        far = float((logits.softmax(1) - own).abs().max())
        rows.append([", ".join(map(short, order[:number])), f"{float(scores['accuracy'].mean()):.3f}",
                     f"{float(scores['log_likelihood'].mean()):.3f}", f"{far:.1e}",
                     f"{count(done.model, (3, 224, 224)).parameters / 1e6:.3f} M"])
        networks[str(number)] = done.model
        print({one: done.into[one] for one in order[:number]}, flush=True)
    table(["folded", "accuracy", "log likelihood", "largest change of a probability", "parameters"], rows)
    print()
    with tempfile.TemporaryDirectory() as place:
        taken = interleaved({name: work(one, image, Path(place), name) for name, one in networks.items()
                             if name in TIMED}, seconds=60, most=1000)
    table(["layers folded", "ms in ONNX Runtime, one thread"], [[name, one.said()] for name, one in taken.items()])


def figures(layers: list[LayerGates], costs: list[GateCost], out: Path) -> None:
    """Draw the distribution of each layer's gates, and what each layer is worth."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, panes = pyplot.subplots(3, 3, figsize=(8, 5.4), sharex=True, layout="constrained")
    for pane, one in zip(panes.flat, layers, strict=True):
        share = one.histogram.reshape(25, -1).sum(1)
        pane.bar(np.linspace(0.02, 0.98, 25), 100 * share, width=0.036, color="#0b7285")
        pane.set_title(f"{short(one.name)}: {len(one.states)} gates, {one.states.count('live')} live", fontsize=9)
        pane.spines[["top", "right"]].set_visible(False)
    drawn.supxlabel("gate", fontsize=9)
    drawn.supylabel("% of gates and photos", fontsize=9)
    drawn.savefig(out / "trained_gates_histograms.png", dpi=80)
    drawn, pane = pyplot.subplots(figsize=(7, 3.4), layout="constrained")
    for place, (how, colour, label) in enumerate((("mean", "#0b7285", "every gate its own mean"),
                                                  ("one", "#d9480f", "every gate 1"))):
        found = [one.lost["accuracy"] for one in costs if one.how == how]
        x, middle = np.arange(len(found)) + (place - 0.5) * 0.3, np.array([one.value for one in found])
        ends = np.array([[one.value - one.low, one.high - one.value] for one in found]).T
        pane.errorbar(x, 100 * middle, 100 * ends, fmt="o", color=colour, capsize=3, label=label)
    pane.axhline(0, color="#888", linewidth=0.8)
    pane.set_xticks(range(len(layers)), [short(one.name) for one in layers])
    pane.set_xlabel("layer, stage.block")
    pane.set_ylabel("points of top-1 lost")
    pane.spines[["top", "right"]].set_visible(False)
    pane.legend(frameon=False)
    drawn.savefig(out / "trained_gates_costs.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = excite.create_model("mobilenet_v3_small", num_classes=1000, padding="tf_same").eval()
    excite.load_weights(model, given.data / "weights" / "mobilenet_v3_small-imagenet-dequantised.safetensors")
    batches = photos(given.data / "imagenet_sample")
    own = scores_of(model, batches, {}, label_scores)[""]
    print(f"accuracy {own['accuracy'].mean():.3f}, log likelihood {own['log_likelihood'].mean():.3f}, "
          f"{len(own['accuracy'])} photos\n")
    layers = gate_statistics(model, [images for images, _ in batches])
    told(layers)
    print()
    costs = gate_costs(model, batches, layers, resamples=2000)
    lost(costs, list(gate_layers(model)))
    off = {name: torch.ones(1) for name in gate_layers(model)}
    means = {one.name: torch.from_numpy(one.mean) for one in layers}
    for label, factors in (("off", off), ("their means", means)):
        with replaced(model, factors):
            right = scores_of(model, batches, {}, label_scores)[""]["accuracy"].mean()
        print(f"all gates {label}: accuracy {right:.3f}")
    print()
    folded(model, batches, layers, costs)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        figures(layers, costs, given.out)


if __name__ == "__main__":
    main()
