"""Volumes from files to a decision, and a training step, beside MONAI's networks and transforms on the same input.

    OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/volumes.py [--rounds 5] [--parts networks memory pipeline cache]

One thread, processor time, works in turns in one process; medians. MONAI's networks as they are, and a step in bfloat16
(`+bf16`) too, which they do not take by themselves; ours as `excite train` and `for_prediction` run them.

networks  forward and a training step (loss, gradients, AdamW) on three maps of 32x96x96, batch 2, and on one of 96^3
          (of 16 slices MONAI's DenseNet121 makes an error)
memory    how much more a process held at most in a step on one volume of 96^3 than before it (Linux)
pipeline  a simulated patient with three maps on grids of their own: NIfTI to axes, one grid, levels, logits of the same
          MobileNetV2-SE (unpacked, so that the difference is that of the data); ours also looks for patients who moved
          between maps, and smooths before it makes a grid coarser
cache     an epoch over 24 patients: mapped from the prepared file, against opening and resampling each
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

SHAPES = {"3 maps of 32x96x96": (2, 3, 32, 96, 96), "1 map of 96x96x96": (1, 1, 96, 96, 96)}
GRID = ((16, 112, 112), (6.0, 1.5, 1.5))
MAPS = ("t1", "adc", "t2star")


def networks(channels: int) -> dict[str, nn.Module]:
    """Return the networks by name, ours first."""
    from monai.networks.nets import DenseNet121, EfficientNetBN, SEResNet50

    import peers  # noqa: F401
    from excite import create_model

    torch.manual_seed(0)
    return {"excite mobilenet_v2_se": create_model("mobilenet_v2_se", dims=3, in_channels=channels, num_classes=3),
            "MONAI SEResNet50": SEResNet50(spatial_dims=3, in_channels=channels, num_classes=3),
            "MONAI DenseNet121": DenseNet121(spatial_dims=3, in_channels=channels, out_channels=3),
            "MONAI EfficientNet-B0": EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=3,
                                                    in_channels=channels, num_classes=3)}


def trainer(model: nn.Module, images: torch.Tensor, *, bfloat16: bool) -> Callable[[], object]:
    """Return a training step."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    labels = torch.arange(len(images)) % 3

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = cross_entropy(model(images).float(), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of processor time of each work, after one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            began = time.process_time()
            work()
            if turn:
                taken[name].append(1e3 * (time.process_time() - began))
    return {name: statistics.median(times) for name, times in taken.items()}


def told(title: str, found: dict[str, float]) -> None:
    """Print milliseconds and how many times as long as the first each takes."""
    first = next(iter(found.values()))
    print(title)
    for name, one in found.items():
        print(f"  {name:<36}{one:>9.1f} ms{one / first:>8.1f}x", flush=True)


def compare_networks(rounds: int) -> None:
    """Print forward passes and training steps."""
    from excite.engine.memory import keep_freed_memory
    from excite.models.prediction import for_prediction

    torch.set_num_threads(1)
    keep_freed_memory()
    for title, shape in SHAPES.items():
        images, found = torch.randn(shape), networks(shape[1])
        own = for_prediction(next(iter(found.values())).eval(), images)
        works: dict[str, Callable[[], object]] = {"excite mobilenet_v2_se, packed": partial(own, images)}
        works |= {name: partial(model.eval(), images) for name, model in found.items()}
        with torch.inference_mode():
            told(f"forward, {title}, batch {shape[0]}", in_turns(works, rounds))
        steps = {name + (" +bf16" if low else ""): trainer(model, images, bfloat16=low)
                 for name, model in found.items() for low in (True, False)}
        told(f"training step, {title}, batch {shape[0]}", in_turns(steps, rounds))


def memory_of(name: str, channels: int) -> float:
    """Return the MiB that a step on one volume of 96^3 takes beyond what the process held before it."""
    torch.set_num_threads(1)
    images, model = torch.randn(1, channels, 96, 96, 96), networks(channels)[name]
    step = trainer(model, images, bfloat16=False)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = held("VmHWM")
    step()
    return held("VmHWM") - before


def held(which: str) -> float:
    """Return the MiB that this process holds, or has held at most."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{which}:"))


def compare_memory() -> None:
    """Print the memory of a step, each in a fresh process."""
    print("memory of a training step in float32, 1 map of 96x96x96, batch 1")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        for name in networks(1):
            print(f"  {name:<36}{fresh.submit(memory_of, name, 1).result():>9.0f} MiB", flush=True)


def patients(folder: Path, count: int) -> list[tuple[Path, ...]]:
    """Return the files of simulated patients who have all maps."""
    from excite.data.phantom.volumes import simulate_volumes
    from excite.data.volumes.sections import VolumesSection
    from excite.data.volumes.volume_table import read_volume_table

    table = simulate_volumes(folder, patients=count, seed=1, missing=0.0, misregistered=0.0)
    return read_volume_table(VolumesSection(table=table, maps=MAPS)).files


@cache
def transforms() -> Callable[[dict[str, str]], dict[str, torch.Tensor]]:
    """Return MONAI's transforms, built once: axes, one grid, levels."""
    from monai.transforms import (
        Compose,
        ConcatItemsd,
        EnsureChannelFirstd,
        LoadImaged,
        NormalizeIntensityd,
        Orientationd,
        ResampleToMatchd,
        ResizeWithPadOrCropd,
        Spacingd,
    )

    depth, height, width = GRID[0]
    return Compose([LoadImaged(MAPS), EnsureChannelFirstd(MAPS), Orientationd(MAPS, axcodes="RAS"),
                    Spacingd("t1", pixdim=GRID[1][::-1]), ResizeWithPadOrCropd("t1", (width, height, depth)),
                    ResampleToMatchd(MAPS[1:], key_dst="t1"), NormalizeIntensityd(MAPS, subtrahend=1000, divisor=500),
                    ConcatItemsd(MAPS, name="maps")])


def with_monai(files: tuple[Path, ...]) -> torch.Tensor:
    """Return a patient's maps as those transforms make them, (1, 3, D, H, W)."""
    found: torch.Tensor = transforms()(dict(zip(MAPS, map(str, files), strict=True)))["maps"].as_tensor()
    return found.permute(0, 3, 2, 1)[None].float()


def compare_pipeline(rounds: int) -> None:
    """Print what a patient costs from files to logits."""
    from excite.data.volumes.preprocess import VolumePreprocess
    from excite.data.volumes.store import Reading, open_patient, prepared

    torch.set_num_threads(1)
    model = next(iter(networks(3).values())).eval()
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        files = patients(Path(place), 8)
        unfitted = VolumePreprocess(maps=MAPS, reference="t1", shape=GRID[0], spacing=GRID[1])
        opened = [unfitted.store(open_patient(one, MAPS, Reading(series={}))) for one in files]
        preprocess = unfitted.fit(opened)

        def ours(one: tuple[Path, ...]) -> torch.Tensor:
            stored, *_ = prepared(open_patient(one, MAPS, Reading(series={})), preprocess)
            return torch.from_numpy(preprocess.normalise(stored)[None])

        def bare(one: tuple[Path, ...]) -> torch.Tensor:
            stored = preprocess.store(open_patient(one, MAPS, Reading(series={})))
            return torch.from_numpy(preprocess.normalise(stored)[None])

        for title, made in (("files to the network's input", lambda get, one: get(one)),
                            ("files to logits", lambda get, one: model(get(one)))):
            works = {"excite": lambda made=made: [made(ours, one) for one in files],
                     "excite, shifts not looked for": lambda made=made: [made(bare, one) for one in files],
                     "MONAI transforms": lambda made=made: [made(with_monai, one) for one in files]}
            found = in_turns(works, rounds)
            told(f"{title}, a patient with three maps", {name: one / len(files) for name, one in found.items()})
        alike = [np.corrcoef(stored[place].ravel()[seen], with_monai(one)[0, place].numpy().ravel()[seen])[0, 1]
                 for one, stored in zip(files, opened, strict=True) for place in range(3)
                 for seen in [~np.isnan(stored[place]).ravel()]]
        print(f"  correlation of both inputs, voxel by voxel: {min(alike):.3f} at least")


def compare_cache() -> None:
    """Print an epoch from the prepared file and one from the patients' own."""
    from excite.data.volumes.preprocess import VolumePreprocess
    from excite.data.volumes.store import Reading, VolumeStore, open_patient, prepared

    with tempfile.TemporaryDirectory() as place:
        files = patients(Path(place), 24)
        unfitted = VolumePreprocess(maps=MAPS, reference="t1", shape=GRID[0], spacing=GRID[1])
        store = VolumeStore.build(files, unfitted, how=Reading(series={}), folder=Path(place) / "cache")
        preprocess = unfitted.fit([np.asarray(one) for one in store.values])
        works = {"mapped": lambda: [preprocess.normalise(one) for one in store.values],
                 "opened each time": lambda: [preprocess.normalise(prepared(open_patient(
                     one, MAPS, Reading(series={})), preprocess)[0]) for one in files]}
        told("an epoch's inputs, 24 patients", in_turns(works, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", default=["networks", "memory", "pipeline", "cache"])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for part, work in (("networks", partial(compare_networks, asked.rounds)), ("memory", compare_memory),
                       ("pipeline", partial(compare_pipeline, asked.rounds)), ("cache", compare_cache)):
        if part in asked.parts:
            work()


if __name__ == "__main__":
    main()
