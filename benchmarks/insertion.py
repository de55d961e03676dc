"""Attention inserted into public networks: what stays equal, what survives, what it costs. Writes docs/insertion.md.

    OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/insertion.py docs/insertion.md

On shaken weights (random affine parameters and statistics). Equality is bit for bit, at five positions and with se, eca
and cbam; the rest is checked on SE at the standard position with random gates.
"""

import copy
import sys
import time
import warnings
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch  # noqa: E402

import peers  # noqa: E402, F401
from excite.attention.insertion.insert import insert  # noqa: E402
from excite.models.insertion import insert_attention  # noqa: E402
from insertion_checks import AT_START, AWAKE, COMPILERS, awake, learns  # noqa: E402
from insertion_zoo import NETWORKS, POSITIONS, public  # noqa: E402

KINDS = ("se", "eca", "cbam")
CHECKS = AWAKE | COMPILERS
HEAD = """# Attention inserted into public networks

Written by `OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/insertion.py docs/insertion.md`, {date}, torch {torch};
the packages: {packages}.

- **blocks**: residual blocks found, by stage; **at**: how many of them have the position, for {positions}.
- **equal**: outputs bit for bit those without attention, in evaluation and in training with the same seed, over
  these positions x {kinds}.
- **learns**: blocks whose gate has moved after 20 steps of SGD (SE, standard), of all.
- the rest, with random gates (SE, standard): keys and values of the old state dict and all classes kept; a deep copy,
  a file of the whole network and a state dict in a new network give the same outputs; float64; conv+BN fusion
  (torch.fx) and SyncBatchNorm keep the gates; torch.compile(fullgraph) in both modes, torch.export and ONNX agree.
  "-": the network without attention cannot do it either.
- **added**: parameters and multiply-adds by SE; **s**: one insertion, with its count.

| network | blocks | at | equal | learns | {checks} | added | s |
| --- | --- | --- | --- | --- | {rule} | --- | --- |
"""


def equal(base: torch.nn.Module, x: torch.Tensor) -> tuple[str, str]:
    """Return how many blocks have each position, and how many insertions change nothing."""
    at, same, tried = [], 0, 0
    for position in POSITIONS:
        for kind in KINDS:
            model = copy.deepcopy(base)
            try:
                report = insert(model, f"{kind}:position={position}")
            except ValueError:  # no block has the position
                at += [0] * (kind == KINDS[0])
                continue
            at += [len(report.places)] * (kind == KINDS[0])
            results = [check(base, model, x) is True for check in AT_START.values()]
            same, tried = same + sum(results), tried + len(results)
    return ", ".join(map(str, at)), f"{same} of {tried}"


def survives(name: str, base: torch.nn.Module, model: torch.nn.Module, x: torch.Tensor) -> str:
    """Return "yes", what is wrong, or "-" where the network cannot do it without attention either."""
    check = CHECKS[name]
    try:
        found = check(base, copy.deepcopy(model), x)
    except Exception as fault:
        try:
            check(base, copy.deepcopy(base), x)
        except Exception:
            return "-"
        return type(fault).__name__
    return "yes" if found is True else f"NO {found}"


def row(label: str) -> str:
    """Return the line of one network."""
    base, x = public(label)
    at, same = equal(base, x)
    model, began = copy.deepcopy(base), time.perf_counter()
    report = insert_attention(model)
    seconds = time.perf_counter() - began
    counts = [place.place.split(".")[0] for place in report.places]
    stages = " + ".join(str(counts.count(stage)) for stage in sorted(set(counts), key=int))
    learned = learns(base, model, x)
    awake(model)
    cells = [survives(name, base, model, x) for name in CHECKS]
    macs = "" if report.macs is None else f", {100 * (report.macs[1] / report.macs[0] - 1):.2f} % MACs"
    added = f"{100 * report.parameters_added / report.parameters[0]:.2f} %{macs}"
    cells = [f"{len(counts)} = {stages}", at, same, "all" if learned is True else str(learned), *cells, added]
    return f"| {label} | {' | '.join(cells)} | {seconds:.1f} |"


def main(out: Path | None, labels: list[str]) -> None:
    """Measure everything, print it, and write the page."""
    from importlib.metadata import version

    warnings.simplefilter("ignore")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torchvision", "timm", "monai"))
    page = HEAD.format(date=date.today(), torch=torch.__version__, packages=packages, positions=", ".join(POSITIONS),
                       kinds=", ".join(KINDS), checks=" | ".join(CHECKS),
                       rule=" | ".join(["---"] * len(CHECKS)))
    print(page, end="", flush=True)
    for label in labels:
        line = row(label)
        print(line, flush=True)
        page += f"{line}\n"
    if out is not None:
        out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None, list(NETWORKS))
