"""What fresh pages cost a training step: glibc as it comes against engine/memory.py, by processor time.

    python benchmarks/memory.py

Each measurement is a process of its own (the setting cannot be taken back); the two alternate.
"""

import statistics
import subprocess
import sys

STEP = """
import resource, sys, torch
from excite.engine.memory import keep_freed_memory
from excite.models.classifier import create_model
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.set_num_threads(1)
model = create_model("mobilenet_v2", num_classes=3).train().to(memory_format=torch.channels_last)
images = torch.rand(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
for number in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    logits.float().logsumexp(1).sum().backward()
    after = resource.getrusage(resource.RUSAGE_SELF)
    if number:
        print(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)
"""
ROUNDS = 4


def main() -> None:
    """Print medians of user and system time a step, 32 images of 224, one thread."""
    found: dict[str, list[tuple[float, float]]] = {"fresh": [], "kept": []}
    for _ in range(ROUNDS):
        for name, taken in found.items():
            done = subprocess.run([sys.executable, "-c", STEP, name], capture_output=True, text=True, check=True)
            taken += [(float(a), float(b)) for a, b in (line.split() for line in done.stdout.splitlines())]
    for name, taken in found.items():
        user, system = (statistics.mean(part) for part in zip(*taken, strict=True))
        print(f"{name:<6} user {user:.2f} s, system {system:.2f} s, together {user + system:.2f} s a step (means)")


if __name__ == "__main__":
    main()
