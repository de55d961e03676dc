"""Kill -9 at random moments: does the same command resume, and are the final weights the same bits?

    python benchmarks/kills.py [--kills 10] [--seed 0]

One uninterrupted training on simulated images, then one a kill: started, killed at a random moment of its whole
duration (reading, training, writing checkpoints, export, report), started again with the same command.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = ("--weights", "none", "--size", "64", "--epochs", "3", "--batch-size", "8", "--threads", "1",
            "--set", "model.options={width: 0.25}", "--set", "loop.precision=float32",
            "--set", "loop.checkpoint_seconds=0.5")


def excite(*arguments: str) -> subprocess.Popen[bytes]:
    """Start `excite`."""
    return subprocess.Popen([sys.executable, "-m", "excite", *arguments], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def digest(run: Path) -> str:
    """Return the sha256 of a run's final weights."""
    return hashlib.sha256((run / "bundle" / "weights.safetensors").read_bytes()).hexdigest()


def main() -> None:
    """Print one line a kill and how many were survived."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        excite("simulate", "planes", "--out", str(folder / "data"), "--patients", "16").wait()
        command = ("train", str(folder / "data" / "planes.csv"), *SETTINGS, "--out")
        began = time.monotonic()
        assert excite(*command, str(folder / "whole")).wait() == 0
        whole, expected = time.monotonic() - began, digest(folder / "whole")
        print(f"uninterrupted: {whole:.1f} s, weights {expected[:16]}")
        good = 0
        for number in range(1, arguments.kills + 1):
            run, moment = folder / f"killed{number}", rng.uniform(0.05, 0.98) * whole
            process = excite(*command, str(run))
            time.sleep(moment)
            process.kill()
            process.wait()
            there = sorted(path.name for path in run.iterdir()) if run.exists() else []
            code = excite(*command, str(run)).wait()
            same = code == 0 and digest(run) == expected
            good += same
            print(f"kill {number} after {moment:5.1f} s ({len(there)} files there): exit {code}, "
                  f"{'the same bits' if same else 'OTHER BITS'}")
    print(f"{good}/{arguments.kills} resumed and ended bit-equal")
    sys.exit(good != arguments.kills)


if __name__ == "__main__":
    main()
