"""The measured tables and the pictures of docs/learn on attention and HybridSN.

    python benchmarks/learn_attention.py drawn                  # the pictures that need no measuring
    python benchmarks/learn_attention.py times                  # milliseconds of gates, and of HybridSN's layers
    python benchmarks/learn_attention.py toys                   # what each gate can tell apart
    python benchmarks/learn_attention.py scenes --results scenes.jsonl [--cube CUBE ...]

Each prints its tables as the pages have them, and writes its pictures to --out. One thread. Times are of the processor,
so that what else the machine does counts little: works in turns, medians. `scenes` trains HybridSN on a simulated
scene, and on cubes that are named, with one thing changed at a time; the same pixels train and test in each row of a
seed, the random split's aside. It goes on where it stopped.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from scenes import answers
from torch import Tensor, nn
from torch.nn import functional

import excite
from excite.attention.cbam import ConvolutionalBlockAttention
from excite.attention.registry import ATTENTION
from excite.data.phantom.hyperspectral import simulate_scene
from excite.data.scenes.split import CODES
from excite.engine.memory import keep_freed_memory
from excite.jobs.scenes.baselines import METHODS, measured
from excite.jobs.scenes.prepare import PreparedScene, prepare_scene
from excite.jobs.scenes.repeats import spread
from excite.jobs.scenes.sections import SceneConfig
from excite.metrics.intervals import Interval
from excite.models.measure import Timing, short, summary

GREEN, RUST, GREY, INK = "#0b6e4f", "#b4552d", "#8a8a8a", "#222222"
STYLE = {"font.size": 9, "axes.edgecolor": "#bbbbbb", "axes.spines.top": False, "axes.spines.right": False,
         "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelcolor": INK, "text.color": INK,
         "legend.frameon": False}
WINDOWS = (11, 19, 21, 23, 25)
KINDS = ("se", "cbam", "coordinate")
TOYS = ("channel", "one place", "two places", "left or right")
BRIGHT, STRONG = 12.0, 4.0
GATES = ("none", "se", "sse", "scse", "cbam", "coordinate")
EPOCHS, SEEDS = 20, 3
SCENE: dict[str, Any] = {"height": 96, "width": 96, "bands": 60, "classes": 8, "noise": 0.2, "pure": 0.5, "seed": 0}
CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {}, "svm": {}, "random split": {}, "PCA of all pixels": {"reduction": {"fit_on": "all pixels"}},
    "SE": {"model": {"attention": "se"}}, "batch normalisation": {"model": {"options": {"normalisation": "batch"}}},
    "half of the training pixels": {}, "60 epochs": {"epochs": 60}, "window 15": {"window": 15}, "transfer": {}}
REAL = ("as it is", "svm", "random split", "PCA of all pixels")


class Told(NamedTuple):
    """A row of a table of times."""

    name: str
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return f"| {self.name} | {' | '.join(self.cells)} |"


# times

def times(out: Path) -> Iterator[Told]:
    """Yield milliseconds of HybridSN's layers and windows, then of ResNet-50 without and with gates."""
    yield Told("32 windows of 25", ("map", "parameters", "MACs, M a window", "ms", "share of the time"))
    rows = layers(32)
    whole = sum(row["ms"] for row in rows)
    for row in rows:
        yield Told(row["name"], (row["map"], f"{row['parameters']:,}", f"{row['macs'] / 1e6:.2f}", short(row["ms"]),
                                 f"{row['ms'] / whole:.1%}"))
    draw_layers(rows, out)
    yield Told("window", ("parameters", "MACs, M", "32 windows, ms"))
    by_window = {str(side): excite.create_model("hybridsn", window=side).eval() for side in WINDOWS}
    taken = processor({side: forward(model, torch.rand(32, 30, int(side), int(side)))
                       for side, model in by_window.items()}, rounds=7)
    for side, model in by_window.items():
        cost = excite.count(model, (30, int(side), int(side)))
        yield Told(side, (f"{cost.parameters:,}", f"{cost.macs / 1e6:.1f}", taken[side].said()))
    networks = {kind: excite.create_model("resnet50", num_classes=1000, attention=None if kind == "none" else kind)
                for kind in ("none", *KINDS)}
    for batch, rounds, step in ((1, 15, False), (8, 5, False), (4, 5, True)):
        yield Told("resnet50", ("parameters", "MACs, M", f"{'training step' if step else 'forward'} of {batch}, ms"))
        ways = timed(networks, batch, rounds=rounds, step=step)
        for kind, network in networks.items():
            cost = excite.count(network, (3, 224, 224))
            yield Told(kind, (f"{cost.parameters:,}", f"{cost.macs / 1e6:,.1f}", ways[kind]))


def processor(works: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Timing]:
    """Return the milliseconds of processor time of each work, the works in turns, the first two turns left out."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(rounds + 2):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            began = time.process_time()
            works[name]()
            taken[name].append(1e3 * (time.process_time() - began))
    return {name: summary(some[2:]) for name, some in taken.items()}


def timed(networks: Mapping[str, nn.Module], batch: int, *, rounds: int, step: bool = False) -> dict[str, str]:
    """Return the milliseconds of each network, said, for `batch` images: forward, or forward and backward."""
    images = torch.rand(batch, 3, 224, 224)
    works = {}
    for name, network in networks.items():
        network.train(step)
        works[name] = backward(network, images) if step else forward(network, images)
    return {name: one.said() for name, one in processor(works, rounds=rounds).items()}


def forward(network: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Return a work: the network's answer, without gradients."""
    def work() -> None:
        with torch.inference_mode():
            network(x)
    return work


def backward(network: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a work: the gradients of all parameters."""
    def work() -> None:
        network.zero_grad()
        network(x).square().mean().backward()
    return work


def layers(batch: int) -> list[dict[str, Any]]:
    """Return of each layer of HybridSN: its name, map, parameters, multiply-adds a window and milliseconds a batch."""
    model = excite.create_model("hybridsn").eval()
    given: dict[str, Tensor] = {}
    named = {**{f"3-D convolution {place + 1}": layer for place, layer in enumerate(model.spectral)},
             "2-D convolution": model.spatial, "dense": model.dense, "hidden": model.hidden,
             "classifier": model.classifier}
    hooks = [layer.register_forward_pre_hook(lambda _, x, name=name: given.update({name: x[0].clone()}))
             for name, layer in named.items()]
    with torch.inference_mode():
        model(torch.rand(batch, 30, 25, 25))
        for hook in hooks:
            hook.remove()
        made = {name: tuple(layer(given[name])[0].shape) for name, layer in named.items()}
    taken = processor({name: forward(layer, given[name]) for name, layer in named.items()}, rounds=11)
    return [{"name": name, "map": " x ".join(map(str, made[name])), "ms": taken[name].median,
             "parameters": sum(one.numel() for one in layer.parameters()),
             "macs": excite.count(layer, tuple(given[name].shape[1:])).macs} for name, layer in named.items()]


# toys: a gate, the mean over space, one linear layer

def toy(task: str, number: int, random: np.random.Generator, *, channels: int = 8, side: int = 12
        ) -> tuple[Tensor, Tensor]:
    """Return maps (N, C, side, side) and labels (N,) that a gate of one kind can tell and another cannot.

    channel: channel 0 says whether the mean of channel 1 or of 2 has the label's sign. one place: the label is the sign
    of channel 1 where channel 0 is bright. two places: the same at two, and the other two corners of their rectangle
    say the opposite without being bright. left or right: in which half channel 0 is bright.
    """
    x = random.standard_normal((number, channels, side, side), np.float32) / 2
    labels = random.integers(0, 2, number)
    sign, rows = 2.0 * labels - 1, np.arange(number)
    if task == "channel":
        which = random.integers(0, 2, number)
        x[:, 0] += (4.0 * which - 2)[:, None, None]
        x[rows, 1 + which] += sign[:, None, None]
        x[rows, 2 - which] += random.choice((-1.0, 1.0), number)[:, None, None]
        return torch.from_numpy(x), torch.from_numpy(labels)
    row, column = random.integers(0, side, number), random.integers(0, side, number)
    if task == "left or right":
        x[rows, 0, row, column // 2 + labels * (side // 2)] = BRIGHT
        return torch.from_numpy(x), torch.from_numpy(labels)
    for _ in range(8):  # as strong, and saying nothing
        x[rows, 1, random.integers(0, side, number), random.integers(0, side, number)] = (
            STRONG * random.choice((-1.0, 1.0), number))
    x[rows, 0, row, column], x[rows, 1, row, column] = BRIGHT, STRONG * sign
    if task == "two places":
        other, across = ((place + random.integers(1, side, number)) % side for place in (row, column))
        x[rows, 0, other, across], x[rows, 1, other, across] = BRIGHT, STRONG * sign
        for down, right in ((row, across), (other, column)):
            x[rows, 1, down, right] = -STRONG * sign
    return torch.from_numpy(x), torch.from_numpy(labels)


def toy_accuracy(task: str, kind: str, seed: int, *, steps: int = 500) -> float:
    """Return the accuracy on 4,000 new maps after training on fresh ones."""
    torch.manual_seed(seed)
    random = np.random.default_rng([seed, TOYS.index(task)])
    options = {"reduction": 1} if kind in ("se", "cbam") else {}
    gate = nn.Identity() if kind == "none" else ATTENTION[kind](8, start="open", **options)
    head = nn.Linear(8, 2)
    learner = torch.optim.Adam([*gate.parameters(), *head.parameters()], lr=0.05)
    fall = torch.optim.lr_scheduler.OneCycleLR(learner, 0.05, total_steps=steps)
    for _ in range(steps):
        x, labels = toy(task, 64, random)
        functional.cross_entropy(head(gate(x).mean((2, 3))), labels).backward()
        learner.step()
        learner.zero_grad()
        fall.step()
    gate.eval()
    with torch.inference_mode():
        x, labels = toy(task, 4000, random)
        return float((head(gate(x).mean((2, 3))).argmax(1) == labels).float().mean())


def toys() -> dict[str, dict[str, list[float]]]:
    """Return the accuracies of each gate on each task, two seeds each."""
    return {task: {kind: [toy_accuracy(task, kind, seed) for seed in range(2)] for kind in GATES} for task in TOYS}


def toy_rows(found: Mapping[str, Mapping[str, list[float]]]) -> Iterator[str]:
    """Yield the table of the toys: mean, and the least and the most."""
    yield f"| gate | {' | '.join(found)} |"
    yield f"| :-- |{' --: |' * len(found)}"
    for kind in GATES:
        cells = [f"{np.mean(some):.3f} ({min(some):.3f}, {max(some):.3f})"
                 for some in (found[task][kind] for task in found)]
        yield str(Told(kind, tuple(cells)))


# scenes: one thing changed at a time

def scene_results(cubes: Mapping[str, Path], results: Path, folder: Path) -> None:
    """Train what is not in the file of results yet, a line a training."""
    done = {(one["cube"], one["change"], one["seed"]) for one in read(results)}
    for name, cube in cubes.items():
        for change in CHANGES if name == "simulated" else REAL:
            for seed in range(SEEDS):
                if (name, change, seed) in done:
                    continue
                began = time.perf_counter()
                prepared = changed(cube, change, seed, folder)
                predicted = METHODS["svm"](prepared, folder) if change == "svm" else answers(prepared)
                found = {"cube": name, "change": change, "seed": seed, "train": sum(prepared.split.counts["train"]),
                         "test": len(predicted), "inside": prepared.split.overlap.inside,
                         "oa": measured(prepared, predicted)["accuracy"].value,
                         "seconds": round(time.perf_counter() - began, 1)}
                with results.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(json.dumps(found), flush=True)


def changed(cube: Path, change: str, seed: int, folder: Path) -> PreparedScene:
    """Return the scene of one row; all rows but the random split's have the blocks that suit the largest window."""
    asked = CHANGES[change]
    given = {"scene": {"cube": cube}, "window": asked.get("window", 11), "seed": 42 + seed,
             "loop": {"epochs": asked.get("epochs", EPOCHS), "threads": 1},
             **{key: value for key, value in asked.items() if key in ("model", "reduction", "augment")}}
    blocks = {"kind": "block", "train": 0.3, "val": 0.1, "seed": 345 + seed}
    split = prepare_scene(SceneConfig.model_validate(given | {"window": 15, "split": blocks})).split
    if change == "random split":  # as many pixels to train and to validate
        labelled = np.count_nonzero(prepare_scene(SceneConfig.model_validate(given)).scene.labels.values)
        shares = {part: sum(split.counts[part]) / labelled for part in ("train", "val")}
        return prepare_scene(SceneConfig.model_validate(given | {"split": {"kind": "random", "seed": 345 + seed,
                                                                            **shares}}))
    parts = split.parts.copy()
    if change == "half of the training pixels":
        pixels = np.random.default_rng(seed).permutation(np.flatnonzero(parts == CODES["train"]))
        parts.flat[pixels[::2]] = 0
    maps = {}
    for part, code in CODES.items():
        maps[f"{part}_map"] = folder / f"{part}.npy"
        np.save(maps[f"{part}_map"], (parts == code).astype(np.uint8))
    prepared = prepare_scene(SceneConfig.model_validate(given | {"split": {"kind": "given", **maps}}))
    return transferred(prepared, seed, folder) if change == "transfer" else prepared


def transferred(target: PreparedScene, seed: int, folder: Path) -> PreparedScene:
    """Return `target` with the network and reduction of another simulated scene: same materials, other places."""
    other = simulate_scene(folder / "other", **SCENE | {"height": 128, "width": 128}, grain=12.0)
    source = prepare_scene(SceneConfig.model_validate({"scene": {"cube": other}, "seed": 142 + seed,
                                                       "loop": {"epochs": EPOCHS, "threads": 1}}))
    answers(source)
    return replace(target, model=source.model, reduction=source.reduction,
                   reduced=source.reduction.apply(target.scene.cube.values))


def read(results: Path) -> list[dict[str, Any]]:
    """Return what was trained."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def gains(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {change: numbers} of one cube: OA, and what the change adds to it in points, over the seeds."""
    base = {one["seed"]: one["oa"] for one in found if one["change"] == "as it is"}
    told = {}
    for change in CHANGES:
        rows = [one for one in found if one["change"] == change and one["seed"] in base]
        if rows:
            told[change] = {"oa": spread([one["oa"] for one in rows]),
                            "gain": difference([one["oa"] - base[one["seed"]] for one in rows]),
                            "gains": [one["oa"] - base[one["seed"]] for one in rows],
                            "seeds": len(rows),
                            **{key: float(np.mean([one[key] for one in rows])) for key in ("train", "test", "inside")}}
    return told


def scene_rows(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table of a cube."""
    yield "| changed | seeds | OA | points more than as it is | to train, to test | test pixels in training windows |"
    yield "| :-- | --: | --: | --: | --: | --: |"
    for change, one in gains(found).items():
        yield (f"| {change} | {one['seeds']} | {one['oa'].value:.3f} | {points(one['gain'])} "
               f"| {one['train']:.0f}, {one['test']:.0f} | {one['inside']:.0%} |")


def difference(gained: list[float]) -> Interval:
    """Return the mean and, from three seeds on, its interval; nothing where nothing was changed."""
    if not any(gained):
        return Interval(value=None, low=None, high=None, note="nothing was changed")
    one = spread(list(gained))
    return one if len(gained) > 2 else Interval(value=one.value, low=None, high=None, note="too few seeds")


def points(gain: Interval) -> str:
    """Return a difference of accuracies in points, with its interval where three seeds or more give one."""
    if gain.value is None or gain.low is None or gain.high is None:
        return "" if gain.value is None else f"{100 * gain.value:+.1f}"
    return f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


# pictures

def draw_gates(out: Path) -> None:
    """Draw where SE's parameters are in ResNet-50, and how often each gate runs where it is bound late."""
    with torch.device("meta"):
        added = {plan: [sum(one.numel() for gate in stage.modules() if isinstance(gate, ATTENTION["se"])
                            for one in gate.parameters()) / 1e6
                        for stage in excite.create_model("resnet50", attention=plan).backbone.stages]
                 for plan in ("se:reduction=32,16,16,8", "se", "se@0,1,2")}
    figure = Figure((8.8, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    sums = np.zeros(len(added))
    names = ("r = 32, 16, 16, 8", "r = 16", "r = 16, no last stage")
    for stage, colour in enumerate(("#c9d8d0", "#8fb8a5", GREEN, RUST)):
        values = np.array([one[stage] for one in added.values()])
        left.barh(names, values, left=sums, color=colour, height=0.6, label=f"stage {stage}")
        sums += values
    for place, value in enumerate(sums):
        left.text(value + 0.05, place, f"{value:.2f} M", va="center")
    left.set(title="SE's parameters in ResNet-50, millions", xlim=(0, 4.9))
    left.invert_yaxis()
    left.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.1), handlelength=1, columnspacing=1)
    late = [int(place == size - 1) * size for size in (3, 4, 6, 3) for place in range(size)]
    right.bar(range(16), late, color=RUST, width=0.75, label="bound late: one gate a stage does it all")
    right.bar(range(16), [1] * 16, color=GREEN, width=0.35, label="mended: each gate once")
    right.set(title="Calls of each of the 16 gates in one forward pass", xlabel="gate, as made",
              xticks=range(0, 16, 3), ylim=(0, 8))
    right.legend(loc="upper left")
    figure.savefig(out / "senet.png", dpi=110)


def draw_places(out: Path) -> None:
    """Draw CBAM's two maps and its place gate, and what a change in the middle changes; beside it self-attention."""
    torch.manual_seed(0)
    gate, attend = ConvolutionalBlockAttention(32).eval(), nn.MultiheadAttention(32, 4, batch_first=True).eval()
    x = functional.interpolate(torch.randn(1, 32, 5, 5), size=(15, 15), mode="bicubic")
    other = x.clone()
    other[:, :, 7, 7] += 3

    def self_attention(x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return attend(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, (15, 15))

    with torch.no_grad():
        place = [gate.spatial_gate(one, gate.spatial)[0, 0] for one in (x, other)]
        told = [self_attention(one)[0] for one in (x, other)]
    panels = {"mean over channels": x[0].mean(0), "maximum over channels": x[0].amax(0), "place gate": place[0],
              "CBAM": ((place[1] - place[0]).abs() > 1e-6).float(),
              "self-attention": ((told[1] - told[0]).abs().amax(0) > 1e-6).float()}
    figure = Figure((12, 2.75), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, 5), panels.items(), strict=True):
        moved = values.max() == 1
        axes.imshow(values, cmap="Greens" if moved else "viridis", vmin=-0.3 if moved else None,
                    vmax=1.4 if moved else None)
        if moved:
            axes.plot(7, 7, "o", color=RUST)
            title += f": the dot moves {int(values.sum())}"
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(out / "cbam.png", dpi=110)


def draw_layers(rows: list[dict[str, Any]], out: Path) -> None:
    """Draw each layer's share of HybridSN's parameters, multiply-adds and time."""
    figure = Figure((8.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for place, (key, name, colour) in enumerate((("parameters", "parameters", GREY), ("macs", "multiply-adds", GREEN),
                                                 ("ms", "time", RUST))):
        values = np.array([row[key] for row in rows], float)
        where = np.arange(len(rows)) + (place - 1) * 0.26
        axes.barh(where, values / values.sum() * 100, height=0.24, color=colour, label=name)
    axes.set(yticks=range(len(rows)), yticklabels=[row["name"] for row in rows], xlabel="% of the network",
             title="HybridSN, 30 bands, window 25: three different pictures of what it costs")
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    figure.savefig(out / "hybridsn.png", dpi=110)


def draw_toys(found: Mapping[str, Mapping[str, list[float]]], out: Path) -> None:
    """Draw the mean accuracy of each gate on each toy task."""
    values = np.array([[np.mean(found[task][kind]) for task in found] for kind in GATES])
    figure = Figure((6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, cmap="Greens", vmin=0.4, vmax=1.25, aspect="auto")
    for row, column in np.ndindex(values.shape):
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center",
                  color="white" if values[row, column] > 0.95 else INK)
    axes.set(xticks=range(len(found)), xticklabels=list(found), yticks=range(len(GATES)), yticklabels=GATES,
             title="Accuracy behind each gate, mean of two seeds; chance is .5")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.savefig(out / "questions.png", dpi=110)


def draw_scenes(results: list[dict[str, Any]], out: Path) -> None:
    """Draw what each change adds to the accuracy of each cube, with its interval."""
    cubes = list(dict.fromkeys(one["cube"] for one in results))
    figure = Figure((8.8, 3.8), layout="constrained")
    for place, (axes, cube) in enumerate(zip(figure.subplots(1, len(cubes), squeeze=False)[0], cubes, strict=True)):
        found = gains([one for one in results if one["cube"] == cube])
        found.pop("as it is")
        for row, (change, one) in enumerate(found.items()):
            gain, colour = one["gain"], RUST if change in ("random split", "PCA of all pixels") else GREEN
            if gain.low is not None and gain.high is not None:
                axes.plot([100 * gain.low, 100 * gain.high], [row, row], color=colour)
            axes.plot([100 * value for value in one["gains"]], [row] * one["seeds"], "o", color=colour, markersize=4)
            axes.plot(100 * gain.value, row, "|", color=colour, markersize=14)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set(yticks=range(len(found)), yticklabels=list(found), xlabel="points of accuracy more", title=cube)
        axes.invert_yaxis()
        if not place:
            figure.suptitle("One thing changed at a time: each seed, their mean, its interval from three seeds on; "
                            "brown: the test pixels had a part in it", x=0.01, ha="left", fontsize=9.5)
    figure.savefig(out / "questions_scenes.png", dpi=110)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("drawn", "times", "toys", "scenes"))
    parser.add_argument("--results", type=Path, default=Path("scenes.jsonl"))
    parser.add_argument("--cube", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("docs/learn"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    matplotlib.rcParams.update(STYLE)
    if asked.what == "drawn":
        draw_gates(asked.out)
        draw_places(asked.out)
    elif asked.what == "times":
        for row in times(asked.out):
            print(row, flush=True)
    elif asked.what == "toys":
        found = toys()
        print(*toy_rows(found), sep="\n")
        draw_toys(found, asked.out)
    else:
        with tempfile.TemporaryDirectory() as folder:
            cubes = {"simulated": simulate_scene(Path(folder) / "scene", **SCENE, grain=9.0)}
            scene_results(cubes | {cube.stem: cube for cube in asked.cube}, asked.results, Path(folder))
        results = read(asked.results)
        for name in dict.fromkeys(one["cube"] for one in results):
            print(name, *scene_rows([one for one in results if one["cube"] == name]), sep="\n")
        draw_scenes(results, asked.out)


if __name__ == "__main__":
    main()
