"""A training step of MobileNetV2 at 224: ours in bf16 and channels_last against torchvision's eager fp32.

One step: forward, cross entropy, backward, SGD with momentum, on random images that are in memory. The ways take turns
step by step in one process, so that a busy machine slows all alike; medians, and ratios within a round, by the clock
and by processor time (which a busy machine distorts less; read it with one thread). Needs torchvision: make test-peers
makes an environment that has it.

    .venv-peers/bin/python benchmarks/networks_step.py
    OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/networks_step.py --rounds 9 --json
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from excite.models.classifier import create_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
PEER, OURS = "torchvision, fp32", "excite, bf16 and channels_last"
BAR, AIM = 1.8, 2.5


def stepper(model: nn.Module, images: Tensor, labels: Tensor, *, half: bool, last: bool) -> Callable[[], float]:
    """Return a function that trains `model` for one step and gives the loss."""
    layout = torch.channels_last if last else torch.contiguous_format
    model, images = model.train().to(memory_format=layout), images.contiguous(memory_format=layout)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(model(images).float(), labels)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def ways(batch: int, size: int, classes: int) -> dict[str, Callable[[], float]]:
    """Return one step of each way, from the same images and the same weights."""
    import peers  # noqa: F401, I001
    from torchvision.models import mobilenet_v2

    from excite.weights.keymap import to_excite

    torch.manual_seed(0)
    images, labels = torch.rand(batch, 3, size, size), torch.arange(batch) % classes
    theirs = mobilenet_v2(num_classes=classes)
    state = to_excite(theirs.state_dict(), model_name="mobilenet_v2", layout="torchvision")
    found = {PEER: stepper(theirs, images, labels, half=False, last=False)}
    for name, half, last in (("excite, fp32", False, False), ("excite, fp32 and channels_last", False, True),
                             (OURS, True, True)):
        ours = create_model("mobilenet_v2", num_classes=classes)
        ours.load_state_dict(state)
        found[name] = stepper(ours, images, labels, half=half, last=last)
    return found


def measure(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each way in each round, by the clock and by processor time; the first round warms up."""
    times: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            if number:
                times[name]["wall"].append(time.perf_counter() - wall)
                times[name]["cpu"].append(time.process_time() - cpu)
    return times


def summary(times: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each way, and how many times as fast as the peer it was within a round."""
    rows: dict[str, dict[str, float]] = {}
    for name, clocks in times.items():
        rows[name] = {}
        for clock, values in clocks.items():
            rows[name][f"{clock}_ms"] = round(1e3 * statistics.median(values), 1)
            ratios = [a / b for a, b in zip(times[PEER][clock], values, strict=True)]
            rows[name][f"x_{clock}"] = round(statistics.median(ratios), 2)
    return rows


def processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    times = measure(ways(options.batch, options.size, options.classes), options.rounds)
    facts = {"date": time.strftime("%Y-%m-%d"), "processor": processor(), "threads": torch.get_num_threads(),
             "load": round(os.getloadavg()[0], 1), "batch": options.batch, "size": options.size,
             "versions": {name: version(name) for name in ("torch", "torchvision")}}
    rows = summary(times)
    ratio = rows[OURS]["x_wall"]
    if options.json:
        print(json.dumps(facts | {"steps": rows, "ratio": ratio, "bar": BAR, "aim": AIM}))
        return
    print(json.dumps(facts), file=sys.stderr)
    for name, row in rows.items():
        print(f"{name:<32}" + "  ".join(f"{key} {value:g}" for key, value in row.items()))
    print(f"{ratio} times as fast by the clock (bar {BAR}, aim {AIM}): {'met' if ratio >= BAR else 'NOT met'}")


if __name__ == "__main__":
    main()
