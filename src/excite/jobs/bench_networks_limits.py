"""What this machine reaches at best: multiply-adds of a large matrix product, and bytes of a copy."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import linear

from excite.models.measure import repeated
from excite.models.prediction import has_bfloat16

SIDE = 1536        # of the matrices
COPIED = 64 * 2**20  # float32 values, more than caches hold
KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(kw_only=True)
class Limits:
    """Milliseconds of products and copies so far; measured again between networks, as other work comes and goes."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def measure(self) -> None:
        """Take three rounds more."""
        with torch.inference_mode():
            for name, times in repeated(_works(), seconds=0.1, least=3).items():
                self.taken.setdefault(name, []).extend(times)

    def flops(self, precision: str) -> float | None:
        """Return the operations a second of the faster product; None where the machine has not this precision."""
        times = [float(np.median(values)) for name, values in self.taken.items() if name.startswith(precision)]
        return 2 * SIDE**3 / min(times) * 1e3 if times else None

    @property
    def bandwidth(self) -> float:
        """Bytes a second of a copy, those that are read and those that are written."""
        return 2 * 4 * COPIED / float(np.median(self.taken["copy"])) * 1e3

    def facts(self) -> dict[str, float | None]:
        """Return the limits in GFLOP/s and GB/s."""
        rates = {f"{name}_gflops": self.flops(name) for name in KINDS} | {"copy_gbytes": self.bandwidth}
        return {name: None if rate is None else round(rate / 1e9, 1) for name, rate in rates.items()}


def _works() -> dict[str, Callable[[], object]]:
    """Return the products in every way that torch has, and a copy: its mm is not always its fastest."""
    works: dict[str, Callable[[], object]] = {}
    for name, kind in KINDS.items():
        if name == "float32" or has_bfloat16():
            one = torch.rand(SIDE, SIDE).to(kind)
            works[f"{name} mm"] = lambda one=one: one @ one  # type: ignore[misc]
            if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
                blocked = one.to_mkldnn()
                works[f"{name} linear"] = lambda blocked=blocked: linear(blocked, blocked)  # type: ignore[misc]
    source = torch.ones(COPIED)
    target = torch.empty_like(source)
    works["copy"] = lambda: target.copy_(source)
    return works
