"""Two torch threads that wait spinning or asleep: a training step alone, and beside another busy program.

    python benchmarks/waiting.py

Each measurement is a process of its own, because the policy is read when torch is loaded; the four alternate.
"""

import os
import statistics
import subprocess
import sys

STEP = """
import time, torch
from excite.models.classifier import create_model
torch.set_num_threads(2)
model = create_model("mobilenet_v2", num_classes=3).train().to(memory_format=torch.channels_last)
images = torch.rand(16, 3, 224, 224).contiguous(memory_format=torch.channels_last)
taken = []
for _ in range(6):
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    logits.float().logsumexp(1).sum().backward()
    taken.append(time.perf_counter() - began)
print(sorted(taken[1:])[2])
"""
ROUNDS = 3


def measure(policy: str, busy: bool) -> float:
    """Return the median seconds of a step."""
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run([sys.executable, "-c", STEP], env=os.environ | {"OMP_WAIT_POLICY": policy},
                              capture_output=True, text=True, check=True)
        return float(done.stdout)
    finally:
        if load:
            load.kill()
            load.wait()


def main() -> None:
    """Print the medians."""
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(ROUNDS):
        for busy in (False, True):
            for policy in ("ACTIVE", "PASSIVE"):
                found.setdefault((policy, busy), []).append(measure(policy, busy))
    for (policy, busy), taken in found.items():
        beside = "beside a busy program" if busy else "alone"
        print(f"{policy:<8} {beside:<22} {statistics.median(taken):.2f} s a step  {[round(one, 2) for one in taken]}")


if __name__ == "__main__":
    main()
