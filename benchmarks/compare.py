"""What `excite compare` promises, measured: how often its tests cry wolf, what they see, and how long they take.

    python benchmarks/compare.py level       # pairs of models with no difference: share of p <= 0.05
    python benchmarks/compare.py power       # planted differences
    python benchmarks/compare.py margin      # B worse by exactly the margin: share of "non-inferior"
    python benchmarks/compare.py speed       # 10,000 draws on 10,000 images, one thread

Simulated models: of each sample both see a shared difficulty and add noise of their own; of a patient with several
images both see a shared difficulty, and each model has a liking or a dislike for the patient. Dice is drawn likewise,
with a long tail to the left.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.metrics.classification import ClassificationMeasure
from excite.metrics.delong import delong
from excite.metrics.intervals import Interval, wilson
from excite.metrics.mcnemar import mcnemar
from excite.metrics.paired import chances, paired
from excite.metrics.side import Side, classifier, means_of

Float = NDArray[np.float64]
CLASSES = ("healthy", "ill")
PAIRS, SWAPS, DRAWS = 2000, 199, 399  # pairs of models; swaps and draws of each, at which a test at 5 % is exact
SHOWN = ("accuracy", "balanced_accuracy", "f1_macro", "auroc_macro", "ap_macro", "brier", "ece")


class Setting(NamedTuple):
    """How images and models are drawn.

    `surer`: B's logits are multiplied. `mirrored`: A misses the ill, B the healthy, as often. `only`: numbers that are
    the same for both models in truth; all where empty.
    """

    name: str
    units: int
    images: int = 1
    surer: float = 1.0
    mirrored: float = 0.0
    better: float = 0.0
    dice: bool = False
    only: tuple[str, ...] = ()


RANKS = ("accuracy", "balanced_accuracy", "auroc_macro", "ap_macro")
LEVEL = (
    Setting("60 images", 60),
    Setting("500 images", 500),
    Setting("60 patients, 3 images each", 60, 3),
    Setting("20 patients, 5 images each", 20, 5),
    Setting("60 images, B three times as sure", 60, surer=3.0, only=RANKS),
    Setting("200 images, A misses the ill, B the healthy", 200, mirrored=0.6,
            only=("balanced_accuracy", "auroc_macro")),
    Setting("masks: 60 images", 60, dice=True),
    Setting("masks: 40 patients, 3 images each", 40, 3, dice=True),
    Setting("masks: 12 patients, 3 images each", 12, 3, dice=True),
)
POWER = (
    Setting("60 images, B better", 60, better=0.5),
    Setting("500 images, B better", 500, better=0.3),
    Setting("60 patients, 3 images each, B better", 60, 3, better=0.5),
    Setting("masks: 60 images, Dice + 0.02", 60, dice=True, better=0.02),
)
MARGIN = (
    Setting("60 images", 60, better=-0.4),
    Setting("500 images", 500, better=-0.4),
    Setting("60 patients, 3 images each", 60, 3, better=-0.4),
    Setting("20 patients, 5 images each", 20, 5, better=-0.4),
    Setting("masks: 60 images", 60, dice=True, better=-0.02),
    Setting("masks: 40 patients, 3 images each", 40, 3, dice=True, better=-0.02),
    Setting("masks: 12 patients, 3 images each", 12, 3, dice=True, better=-0.02),
)



def drawn(setting: Setting, rng: np.random.Generator) -> tuple[Side, Side, list[str], Float, Float, Float]:
    """Return both sides, the units, the truth, and a score of each model (their Dice of masks)."""
    count = setting.units * setting.images
    unit = np.repeat(np.arange(setting.units), setting.images)
    truth = (np.arange(setting.units) % 5 < 2)[unit].astype(np.int64)
    common = rng.normal(0, 0.7, setting.units)[unit] + rng.normal(0, 0.7, count)
    own = [rng.normal(0, 0.5 if setting.images > 1 else 0, setting.units)[unit] + rng.normal(0, 0.7, count)
           for _ in range(2)]
    if setting.dice:
        scores = [1 - np.exp(-2 + 0.6 * (common + one)) for one in own]
        scores[1] = np.clip(scores[1] + setting.better, -9, 1)
        a, b = (means_of([{"dice": float(value)} for value in one]) for one in scores)
        return a, b, [str(one) for one in unit], truth, *scores
    scores = [1.2 * (2 * truth - 1) + common + one for one in own]
    scores[0] -= setting.mirrored
    scores[1] = setting.surer * (scores[1] + setting.mirrored + setting.better * (2 * truth - 1))
    chances = [1 / (1 + np.exp(-1.5 * one)) for one in scores]
    a, b = (classifier(truth, np.stack([1 - one, one], axis=1), CLASSES) for one in chances)
    return a, b, [str(one) for one in unit], truth, *chances


def rates(settings: tuple[Setting, ...], *, pairs: int, intervals: bool = False) -> None:
    """Print for each setting and number how often p is below 0.05, and how often the interval leaves 0 out."""
    more = "; with 0 outside the interval" if intervals else ""
    print(f"share of {pairs} pairs [Wilson's 95 %] with p <= 0.05{more}")
    for setting in settings:
        began, names = time.perf_counter(), setting.only or (("dice",) if setting.dice else SHOWN)
        hits: dict[str, list[list[bool]]] = {name: [] for name in names}
        naive: list[tuple[bool, bool]] = []
        seen: dict[str, tuple[float | None, str]] = {}
        for seed in range(pairs):
            a, b, units, truth, one, two = drawn(setting, np.random.default_rng([seed, 7]))
            seen = chances(a, b, units, swaps=SWAPS, seed=seed)
            ends = {} if not intervals else paired(a, b, units, resamples=DRAWS, seed=seed)
            for name in names:
                p = seen.get(name, (None, ""))[0]
                hits[name].append([_below(p), *([_outside(ends[name].difference)] if ends else [])])
            if setting.images > 1 and not setting.dice and a.right is not None and b.right is not None:
                naive.append((mcnemar(a.right, b.right).p < 0.05, delong(truth, one, two).p < 0.05))
        print(f"\n{setting.name}  ({time.perf_counter() - began:.0f} s)")
        for name, hit in hits.items():
            print(f"  {name:<18} {seen.get(name, (None, 'not tested'))[1]:<16}", "   ".join(_share(sum(one), pairs)
                                                                  for one in zip(*hit, strict=True)))
        for name, column in zip(("McNemar by image", "DeLong by image"), zip(*naive, strict=True), strict=False):
            print(f"  {name:<35}", _share(sum(column), pairs), flush=True)


def _below(p: float | None) -> bool:
    return p is not None and p <= 0.05


def _outside(one: Interval) -> bool:
    return one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count / of:.3f} [{low:.3f}, {high:.3f}]"


def margins(settings: tuple[Setting, ...], *, pairs: int) -> None:
    """Print how often B, worse by exactly the margin, is called not worse than that: 0.025 is promised."""
    print(f"B worse by exactly the margin: share of {pairs} pairs called not worse [Wilson's 95 %]; 0.025 promised")
    for setting in settings:
        began, names = time.perf_counter(), ("dice",) if setting.dice else RANKS
        wrong, margin = dict.fromkeys(names, 0), {name: _truth(setting, name) for name in names}
        for seed in range(pairs):
            a, b, units, *_ = drawn(setting, np.random.default_rng([seed, 7]))
            found = paired(a, b, units, resamples=DRAWS, seed=seed)
            for name in names:
                low = found[name].difference.low
                wrong[name] += low is not None and low > margin[name]
        print(f"\n{setting.name}  ({time.perf_counter() - began:.0f} s)")
        for name, count in wrong.items():
            print(f"  {name:<18} margin {-margin[name]:.4f}  {_share(count, pairs)}", flush=True)


def _truth(setting: Setting, name: str) -> float:
    """Return the difference of the two models on very many images."""
    a, b, *_ = drawn(setting._replace(units=400_000), np.random.default_rng(99))
    one = np.ones((1, len(a.columns)))
    return float((b.measure()(one)[name] - a.measure()(one)[name])[0])


def speed(draws: int = 10_000, images: int = 10_000) -> None:
    """Print the time of one comparison of two classifiers of three classes, all numbers; and of the slow form."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, images)
    chances = []
    for skill in (1.0, 1.1):
        raised = np.exp(rng.normal(size=(images, 3)) + skill * np.eye(3)[truth])
        chances.append(raised / raised.sum(axis=1, keepdims=True))
    units = [str(place) for place in range(images)]
    wall, own = time.perf_counter(), time.process_time()
    found = paired(*(classifier(truth, one, "abc") for one in chances), units, resamples=draws)
    print(f"{draws} draws, {images} images, 3 classes, {len(found)} numbers of both: "
          f"{time.process_time() - own:.2f} s of one core ({time.perf_counter() - wall:.2f} s by the clock)")
    few = np.random.default_rng(1).integers(0, 3, (100, images)).astype(np.float64)
    for label, measures in (("as it is", [classifier(truth, one, "abc").measure() for one in chances]),
                            ("ClassificationMeasure", [ClassificationMeasure(truth, one, "abc") for one in chances])):
        print(f"  {label:<22} {_seconds(measures, few) * draws / len(few):.1f} s for {draws} weightings of both")


def _seconds(measures: list[Callable[[Float], object]], weights: Float) -> float:
    began = time.process_time()
    for measure in measures:
        measure(weights)
    return time.process_time() - began


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    words.add_argument("what", choices=("level", "power", "margin", "speed"))
    words.add_argument("--pairs", type=int, default=PAIRS)
    words.add_argument("--only", type=int, nargs="*", help="numbers of the settings, from 0")
    words.add_argument("--intervals", action="store_true", help="the bootstrap's intervals as tests too: slow")
    asked = words.parse_args()
    if asked.what == "speed":
        speed()
        return
    settings = {"level": LEVEL, "power": POWER, "margin": MARGIN}[asked.what]
    chosen = settings if asked.only is None else tuple(settings[place] for place in asked.only)
    if asked.what == "margin":
        margins(chosen, pairs=asked.pairs)
    else:
        rates(chosen, pairs=asked.pairs, intervals=asked.intervals)


if __name__ == "__main__":
    main()
