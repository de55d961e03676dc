"""A training step of MobileNetV2 at 224, batch 16: bf16 autocast in channels-last memory against eager float32.

    python benchmarks/networks_step.py [--threads 2] [--rounds 9] [--batch 16] [--size 224] [--json]

Both are timed in turns in one process: forward, cross-entropy, backward, SGD with momentum. Medians of wall and of
process time are printed, with the ratio of each round's pair as a check on a machine that others use. The bar is 1.8x,
the aim 2.5x. Without torchvision the peer is excite's own network in eager float32, and the output says so.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from excite import AttentionPlan, create_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
BAR, AIM = 1.8, 2.5


def peer() -> tuple[str, nn.Module]:
    """Return the network to compare with, and its name."""
    try:
        import peers  # noqa: F401, I001
        import torchvision

        return f"torchvision {torchvision.__version__}", torchvision.models.mobilenet_v2()
    except ImportError:
        return "excite (torchvision is not installed)", create_model("mobilenet_v2")


def stepper(model: nn.Module, images: Tensor, labels: Tensor, *, fast: bool) -> Callable[[], None]:
    """Return a function that trains `model` by one step; `fast` is bf16 and channels-last."""
    model.train()
    if fast:
        model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()

    return step


def measure(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return (wall, process) milliseconds of each step in each round, the steps in turns after two to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            wall, own = time.perf_counter(), time.process_time()
            step()
            if turn >= 2:
                times[name].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - own)))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images = torch.rand(arguments.batch, 3, arguments.size, arguments.size)
    labels = torch.randint(0, 1000, (arguments.batch,))
    name, reference = peer()
    base = f"{name}, eager float32"
    steps = {
        base: stepper(reference, images, labels, fast=False),
        "excite, bf16 + channels-last": stepper(create_model("mobilenet_v2"), images, labels, fast=True),
        "excite with SE, bf16 + channels-last": stepper(create_model("mobilenet_v2", attention=AttentionPlan()), images,
                                                        labels, fast=True),
    }
    times = measure(steps, arguments.rounds)
    rows = []
    for what, pairs in times.items():
        wall, own = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(round(other[0] / mine[0], 2) for other, mine in zip(times[base], pairs, strict=True))
        rows.append({"step": what, "wall_ms": round(wall, 1), "process_ms": round(own, 1),
                     "ratio_wall": round(statistics.median(pair[0] for pair in times[base]) / wall, 2),
                     "ratio_process": round(statistics.median(pair[1] for pair in times[base]) / own, 2),
                     "ratio_of_pairs": [ratios[0], round(statistics.median(ratios), 2), ratios[-1]]})
    facts = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": platform.processor() or platform.machine(),
             "torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": arguments.rounds,
             "batch": arguments.batch, "size": arguments.size, "bar": BAR, "aim": AIM, "rows": rows}
    if arguments.json:
        print(json.dumps(facts))
        return
    print(f"MobileNetV2 training step, {arguments.batch} x {arguments.size}^2, {facts['threads']} threads, "
          f"torch {facts['torch']}, {facts['date']}; bar {BAR}x, aim {AIM}x")
    for row in rows:
        low, middle, high = row["ratio_of_pairs"]
        print(f"{row['step']:<40}{row['wall_ms']:>9} ms wall{row['process_ms']:>9} ms process   "
              f"{row['ratio_wall']}x wall, {row['ratio_process']}x process, pairs {low} .. {middle} .. {high}")


if __name__ == "__main__":
    main()
