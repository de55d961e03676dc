"""The two speed claims about heads, each against the public way, in turns.

    python benchmarks/segmentation.py [--threads 1] [--repeats 15] [--folder HC18] [--bundle BUNDLE] [--only PART]

PNG to mm: a file on the disk to its circumference through a bundle (onnxruntime; the picture and its mirror image, or
the picture alone) against segmentation_models_pytorch's Unet("mobilenet_v2") alone, eager float32, from a prepared
array. Claim 3x, aim 8x. Needs that package (the environment of `make test-peers`); the rest is measured without it.
The same for many files as `excite predict FOLDER --threads 2` does them, a file, against that network a picture at a
time with torch's two threads, and two pictures at once with one thread each. The bar is held against the latter by wall
time: torch's threads wait for each other, so that where others use the machine they are no fair peer.

Training step: encoder frozen as excite's engine does it, against the published network in plain float32 with
requires_grad=False on the encoder and train(), as one would write it. Claim 2.5x, aim 3.5x. Each in a process of its
own, since the engine tells the C library to keep freed memory, which would help the other too; one works at a time.

Pictures are HC18's where the folder is given, simulated ones otherwise; without a bundle our network learns a batch of
simulated heads by heart. Told are medians of wall time and of processor time, and of the ratios of each round; on a
machine that others use the ratio of processor times is the one to hold a claim against. One JSON object a number, then
a table.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from excite.config import load_config
from excite.data.phantom.heads import simulate_heads
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import DataSection
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, write_bundle
from excite.deploy.export import export
from excite.deploy.measuring import head_in, spread_mm
from excite.deploy.runtime import Predictor
from excite.deploy.workers import in_order
from excite.ellipse import Ellipse
from excite.engine.loader import Batch
from excite.engine.memory import keep_freed_memory
from excite.engine.precision import has_bfloat16
from excite.engine.sections import ScheduleSection
from excite.engine.signals import StopFlag
from excite.engine.state import Setup, Training, arrange
from excite.engine.step import take_step
from excite.jobs.asked import Asked, gather
from excite.jobs.bench_heads import peers
from excite.jobs.model_cost import machine
from excite.jobs.sections import TrainConfig
from excite.metrics.biometry import measure
from excite.models.classifier import create_model
from excite.outcome.maps import Place, to_original
from excite.progress import silent
from excite.tasks.segmentation import SegmentationTask, loss_of

CONFIGS = Path(__file__).parents[1] / "configs"
SIZE, BATCH = (256, 384), 8
LEARNT = 40         # steps until the batch is known by heart
WARM_UP = 2         # rounds
MANY, BESIDE = 12, 2  # files a round where many are measured, and the threads that do them
Taken = tuple[float, float]  # milliseconds of wall and of processor time
Times = dict[str, list[Taken]]


def timed(work: Callable[[], object]) -> Taken:
    wall, own = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - own)


def in_turns(works: Mapping[str, Callable[[], Taken]], repeats: int) -> Times:
    """Return what each work took in each round; a round begins one later than the last."""
    names, times = list(works), {name: list[Taken]() for name in works}
    for turn in range(repeats + WARM_UP):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken = works[name]()
            if turn >= WARM_UP:
                times[name].append(taken)
    return times


def told(times: Times, bars: Mapping[str, tuple[str, float]], *, by_wall: bool = False) -> list[dict[str, Any]]:
    """Return a row a work; `bars` names for some the work that they are to beat, and by how much."""
    rows = []
    for name, pairs in times.items():
        wall, own = (statistics.median(column) for column in zip(*pairs, strict=True))
        row: dict[str, Any] = {"number": name, "wall_ms": round(wall, 1), "processor_ms": round(own, 1)}
        base, bar = bars.get(name, ("", 0.0))
        if base in times:
            ratios = [[one[kind] / mine[kind] for one, mine in zip(times[base], pairs, strict=True)] for kind in (0, 1)]
            wall_x, own_x = (round(statistics.median(column), 2) for column in ratios)
            row |= {"against": base, "wall_x": wall_x, "processor_x": own_x, "claim_x": bar,
                    "holds": (wall_x if by_wall else own_x) >= bar}
        rows.append(row)
    return rows


def config_of(name: str) -> TrainConfig:
    """Return a published config with random weights and a rate that stays."""
    config: TrainConfig = load_config(TrainConfig, CONFIGS / name, values={"model.weights": None})
    return config.model_copy(update={"schedule": ScheduleSection(name="constant")})


def network_of(config: TrainConfig) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = create_model(config.model.name, in_channels=1, num_classes=1, **config.model.options)
    return model


def engine_step(config: TrainConfig, model: nn.Module, batch: Batch, *, frozen: bool) -> Callable[[], float]:
    """Return a step of excite's engine: its precision, memory layout, norms, averages."""
    state = Training(model, optim=config.optim, loop=config.loop, device="cpu")
    state.at.precision = "bfloat16" if has_bfloat16() else "float32"
    task = SegmentationTask(("head",), loss=loss_of(config.loss, classes=1))
    setup = Setup(task=task, train=cast(Any, SimpleNamespace(steps=10**6)), val=cast(Any, None), optim=config.optim,
                  schedule=config.schedule, loop=config.loop, seed=0, folder=Path(), log=lambda _: None,
                  progress=silent(), stop=StopFlag(), device="cpu")

    def step() -> float:
        state.trunk.train(frozen=frozen)
        before = state.at.loss
        take_step(setup, state, itertools.repeat(batch))
        return (state.at.loss - before) / len(batch.index)

    return step


def plain_step(config: TrainConfig, model: nn.Module, batch: Batch) -> Callable[[], float]:
    """Return the step that one would write: float32, no gradients for the encoder, which stays in training mode."""
    for parameter in model.get_submodule("encoder").parameters():
        parameter.requires_grad_(False)
    learning = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=config.optim.lr, weight_decay=config.optim.weight_decay)
    loss_function, images = loss_of(config.loss, classes=1), batch.images.clone(memory_format=torch.contiguous_format)

    def step() -> float:
        model.train()
        optimiser.zero_grad()
        loss = loss_function(model(images), batch.labels).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(loss.detach())

    return step


def batch_of(preprocess: Preprocess, pictures: list[Asked], ellipses: list[Ellipse]) -> Batch:
    """Return prepared pictures with their heads, as the loader gives them."""
    images, masks = [], []
    for one, ellipse in zip(pictures, ellipses, strict=True):
        picture = read(one.path).image
        images.append(preprocess(picture))
        place = Place(preprocess.inverse(picture.shape), picture.shape[1:])
        masks.append(ellipse.mapped(place.forward).coverage(SIZE)[None])
    return Batch(index=np.arange(len(images)), images=torch.from_numpy(np.stack(images)),
                 labels=torch.from_numpy(np.stack(masks)))


def simulated(folder: Path) -> tuple[list[Asked], list[Ellipse]]:
    """Return the pictures of a simulated batch, and their ellipses."""
    simulate_heads(folder, patients=BATCH, images=1)
    lines = (folder / "truth.csv").read_text(encoding="utf-8").splitlines()[1:]
    return pictures_of(folder), [Ellipse(*map(float, line.split(",")[1:])) for line in lines]


def pictures_of(folder: Path) -> list[Asked]:
    return [one for one in gather([folder], DataSection()) if isinstance(one, Asked)]


def learnt_bundle(folder: Path, batch: Batch) -> Path:
    """Return a bundle of our network, which has learnt one batch."""
    config = config_of("heads.yaml")
    model = network_of(config)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.5  # so few steps: the usual one would still remember the start
    step = engine_step(config.model_copy(update={"loop": config.loop.model_copy(update={"ema": 0.0})}), model, batch,
                       frozen=False)
    for _ in range(LEARNT):
        step()
    info = BundleInfo(name="benchmark", task="heads", classes=("head",), views="flip",
                      preprocess=Preprocess(config.preprocess).to_json())
    scratch = folder.parent  # what is timed needs no proof of its export: of 40 steps, it may be off at other sizes
    export(arrange(model.eval(), channels_last=False), scratch / ONNX, size=SIZE, channels=1, maps=True)
    save_file(model.state_dict(), scratch / WEIGHTS)
    write_bundle(folder, info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)
    return folder


def prediction(bundle: Path, pictures: list[Asked], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of PNG to mm: against the public network, and where the time goes."""
    flip, alone = (Predictor(bundle, threads=asked.threads, views=views) for views in ("flip", "one"))
    heads = [found for found in flip([one.path for one in pictures[:BATCH]]) if getattr(found, "ellipse", None)]
    if not heads:
        raise SystemExit(f"{bundle} finds no head in {pictures[0].path} and others: nothing would be measured")
    turn = itertools.cycle(pictures)
    names = ("PNG to mm, picture and mirror image", "PNG to mm, picture alone", "smp Unet alone, eager float32")

    def through(predictor: Predictor) -> Callable[[], Taken]:
        def work() -> Taken:
            picture = next(turn)
            return timed(lambda: predictor([picture.path], spacings=[picture.spacing or (0.1,)]))
        return work

    works = {names[0]: through(flip), names[1]: through(alone)}
    package, words = peers()
    print(json.dumps({"peer": words, "heads": f"{len(heads)} of the first {min(BATCH, len(pictures))}"}))
    if package is not None:
        works[names[2]] = partial(timed, public(package))
    rows = told(in_turns(works, asked.repeats), {name: (names[2], 3.0) for name in names[:2]})
    parts: Times = {}
    for picture in (pictures * (asked.repeats + WARM_UP))[: asked.repeats + WARM_UP]:
        for name, taken in stages(flip, picture).items():
            parts.setdefault(name, []).append(taken)
    return rows + told({f"of it: {name}": taken[WARM_UP:] for name, taken in parts.items()}, {})


def public(package: Any) -> Callable[[], object]:
    """Return one prediction of the public network alone, of a prepared picture."""
    model = package.Unet("mobilenet_v2", encoder_weights=None, in_channels=1, classes=1).eval()
    return cast(Callable[[], object], torch.no_grad()(partial(model, torch.rand(1, 1, *SIZE))))


def many(bundle: Path, pictures: list[Asked], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of PNG to mm of many files with two threads, a file."""
    cv2.setNumThreads(BESIDE)
    names = [f"{MANY} files, {BESIDE} threads, a file: {words}" for words in
             ("PNG to mm, picture and mirror image", "PNG to mm, picture alone", "smp Unet alone, two pictures at once",
              "smp Unet alone, torch's two threads")]
    turn = itertools.cycle(pictures)

    def through(views: str) -> Callable[[], object]:
        predictor = Predictor(bundle, threads=BESIDE, views=views)

        def work() -> object:
            chosen = list(itertools.islice(turn, MANY))
            return predictor([one.path for one in chosen], spacings=[one.spacing or (0.1,) for one in chosen])
        return work

    works = {names[0]: through("flip"), names[1]: through("one")}
    package, _ = peers()
    if package is not None:
        one = public(package)
        works[names[2]] = lambda: list(in_order([one] * MANY, threads=BESIDE, ahead=BESIDE + 1))
        works[names[3]] = lambda: [one() for _ in range(MANY)]

    def a_file(name: str) -> Taken:
        torch.set_num_threads(BESIDE if name == names[3] else 1)
        wall, own = timed(works[name])
        return wall / MANY, own / MANY

    times = in_turns({name: partial(a_file, name) for name in works}, max(3, asked.repeats // 2))
    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(asked.threads)
    return told(times, {name: (names[2], 3.0) for name in names[:2]}, by_wall=True)


def stages(predictor: Predictor, picture: Asked) -> dict[str, Taken]:
    """Return what each part of the way from a file to millimetres takes."""
    taken: dict[str, Taken] = {}

    def part(name: str, work: Callable[[], Any]) -> Any:
        found: list[Any] = []
        taken[name] = timed(lambda: found.append(work()))
        return found[0]

    level, spacing = predictor.info.level, picture.spacing or (0.1,)
    image = part("decode", lambda: read(picture.path).image)
    ready = part("resize and normalise", lambda: predictor.preprocess(image))
    views = part("network, two views", lambda: predictor.views(ready[None]))[:, 0, 0]
    place = Place(predictor.preprocess.inverse(image.shape), image.shape[1:])
    mean = views.mean(axis=0)
    logits = part("upsampling", lambda: to_original(mean[None], place)[0])
    head = part("contour and ellipse", lambda: head_in(logits, level=level))
    if head.ellipse is not None:
        part("spread", lambda: spread_mm(head, measure(head.ellipse, spacing), list(views), mean, place, level=level,
                                         spacing=spacing))
    return taken


def training(batch: Batch, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of a training step, and how far the two ways are apart after one."""
    names = ("published network, plain float32", "our network, plain float32")
    works, rows = {}, []
    for name, file in (("published network", "hc18.yaml"), ("our network", "heads.yaml")):
        rows.append({"number": f"{name}, loss", **apart(config_of(file), batch)})
        works[f"{name}, excite's engine"] = elsewhere(file, batch, asked.threads, plain=False)
        works[f"{name}, plain float32"] = elsewhere(file, batch, asked.threads, plain=True)
    times = in_turns(works, max(3, asked.repeats // 3))
    fast = [name for name in works if name.endswith("engine")]
    own = told({name: one for name, one in times.items() if name.startswith("our")}, {fast[1]: (names[1], 2.5)})
    return [*told(times, dict.fromkeys(fast, (names[0], 2.5))), {**own[0], "number": f"{fast[1]}, by itself"}, *rows]


def elsewhere(file: str, batch: Batch, threads: int, *, plain: bool) -> Callable[[], Taken]:
    """Return a step in a process of its own, which tells what it took: the engine keeps freed memory, the other not."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_serve, args=(there, file, batch.images.numpy(), batch.labels.numpy(), threads, plain),
                    daemon=True).start()

    def step() -> Taken:
        here.send(True)
        return cast(Taken, here.recv())

    return step


def _serve(asked: Connection, file: str, images: NDArray[Any], masks: NDArray[Any], threads: int, plain: bool) -> None:
    warnings.filterwarnings("ignore", "ASPP: rate")
    torch.set_num_threads(threads)
    config, batch = config_of(file), Batch(index=np.arange(len(images)), labels=torch.from_numpy(masks),
                                           images=torch.from_numpy(images))
    model = network_of(config)
    step = plain_step(config, model, batch) if plain else engine_step(config, model, batch, frozen=True)
    if not plain:
        keep_freed_memory()
    with suppress(EOFError):  # the end of whoever asks
        while asked.recv():
            asked.send(timed(step))


def apart(config: TrainConfig, batch: Batch) -> dict[str, float]:
    """Return the loss of the same weights before and after one step by each way, all judged alike: eval, float32."""
    def judged(one: nn.Module) -> float:
        with torch.no_grad():
            return float(loss_of(config.loss, classes=1)(one.eval()(batch.images), batch.labels).mean())

    model = network_of(config)
    first, second = deepcopy(model), deepcopy(model)
    engine_step(config, first, batch, frozen=True)()
    torch.manual_seed(0)
    plain_step(config, second, batch)()
    before, after, after_plain = judged(model), judged(first), judged(second)
    return {"before": round(before, 5), "after_engine": round(after, 5), "after_plain": round(after_plain, 5),
            "apart": round(abs(after - after_plain), 5)}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the timed rows in Markdown."""
    lines = ["| | ms, processor | ms, wall | x, processor | x, wall | claim |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        if "wall_ms" in row:
            held = f"{row['claim_x']}x {'holds' if row['holds'] else 'missed'}" if "against" in row else ""
            cells = [row.get(key, "") for key in ("number", "processor_ms", "wall_ms", "processor_x", "wall_x")]
            lines.append(f"| {' | '.join(map(str, [*cells, held]))} |")
    return "\n".join(lines)


def main() -> None:
    """Print what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--only", choices=("prediction", "many", "training"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(asked.threads)
    facts = machine(asked.threads) | {"onnxruntime": onnxruntime.__version__, "size": SIZE, "repeats": asked.repeats,
                                      "date": time.strftime("%Y-%m-%d", time.gmtime())}
    print(json.dumps(facts), flush=True)
    warnings.filterwarnings("ignore", "ASPP: rate")  # of the published network, which the docs tell
    with tempfile.TemporaryDirectory() as place:
        pictures, ellipses = simulated(Path(place) / "heads")
        batch = batch_of(Preprocess(config_of("heads.yaml").preprocess), pictures, ellipses)
        bundle = asked.bundle or learnt_bundle(Path(place) / "bundle", batch)
        rows = []
        files = pictures_of(asked.folder) if asked.folder else pictures
        parts = {"prediction": partial(prediction, bundle, files), "many": partial(many, bundle, files),
                 "training": partial(training, batch)}
        for part in [parts[asked.only]] if asked.only else parts.values():
            rows += (found := part(asked))
            print(*map(json.dumps, found), sep="\n", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
