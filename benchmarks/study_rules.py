"""How the variance over seeds of a study's arms is best taken: rules against each other on simulated studies.

    python benchmarks/study_rules.py [--studies 1000] [--units 500] [--luck 0.12]

Right and wrong answers as in benchmarks/study.py; the last arm is one, two, four or eight times as restless. For each
rule: how often the interval of a difference holds the truth (of arms alike / of the restless one), how often a study
shows a false difference, how often a true one of 5 and of 10 points is shown, and how long the median interval is.
The bootstrap over units is taken at its limit, the covariance over units.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma
from scipy.stats import chi2, norm, t

from excite.metrics.restless import chance_of

Float = NDArray[np.float64]
Rule = Callable[[Float, int], tuple[Float, Float]]  # W of studies and arms, seeds -> variance and freedom of pairs
RIGHT, HARD, OWN, NOISE = 0.75, 1.0, 0.2, 0.5


def own_where_larger(within: Float, seeds: int) -> tuple[Float, Float]:
    """The pair's own variance with Welch's degrees of freedom where it is the larger, else the pool's."""
    first, others = within[:, :1], within[:, 1:]
    pool, own = 2 * within.mean(axis=1, keepdims=True), first + others
    welch = (seeds - 1) * own**2 / (first**2 + others**2)
    larger = own >= pool * (1 - 1e-9)
    return np.where(larger, own, pool), np.where(larger, welch, within.shape[1] * (seeds - 1.0))


def pooled(within: Float, seeds: int) -> tuple[Float, Float]:
    """The pool of all arms for each pair."""
    value = np.repeat(2 * within.mean(axis=1, keepdims=True), within.shape[1] - 1, axis=1)
    return value, np.full_like(value, within.shape[1] * (seeds - 1))


def bartlett(within: Float, seeds: int) -> tuple[Float, Float]:
    """The pool, but the pair's own where Bartlett's test says that arms differ (p < 0.1)."""
    arms, freedom = within.shape[1], seeds - 1
    statistic = arms * freedom * np.log(within.mean(axis=1)) - freedom * np.log(np.maximum(within, 1e-12)).sum(axis=1)
    scale = 1 + (arms / freedom - 1 / (arms * freedom)) / (3 * (arms - 1))
    differ = chi2.sf(statistic / scale, arms - 1)[:, None] < 0.1
    own = within[:, 1:] + within[:, :1]
    welch = freedom * own**2 / np.maximum(within[:, 1:] ** 2 + within[:, :1] ** 2, 1e-300)
    return tuple(np.where(differ, mine, theirs) for mine, theirs  # type: ignore[return-value]
                 in zip((own, np.maximum(welch, freedom)), pooled(within, seeds), strict=True))


def moderated(within: Float, seeds: int) -> tuple[Float, Float]:
    """Smyth's moderated variances: each arm's own, drawn towards the others' by an empirical prior."""
    freedom, arms = seeds - 1.0, within.shape[1]
    logs = np.log(np.maximum(within, 1e-12)) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = logs.var(axis=1, ddof=1) - polygamma(1, freedom / 2)
    some = excess > 1e-3
    half = np.full(len(within), 5e5)
    half[some] = _inverse_trigamma(excess[some])
    prior = np.where(some, np.exp(logs.mean(axis=1) + digamma(half) - np.log(half)), within.mean(axis=1))[:, None]
    weight = 2 * half[:, None]
    drawn = (weight * prior + freedom * within) / (weight + freedom)
    first, others = drawn[:, :1], drawn[:, 1:]
    found = (weight + freedom) * (first + others) ** 2 / (first**2 + others**2)
    return first + others, np.minimum(found, arms * freedom)


def chosen(within: Float, seeds: int) -> tuple[Float, Float]:
    """The rule of `excite study`."""
    arms = within.shape[1]
    # Seeds with exactly this variance: the rule looks at nothing else of them.
    steps = np.arange(seeds) - (seeds - 1) / 2
    shape = steps / steps.std(ddof=1)
    pairs = np.eye(arms)[1:] + np.eye(arms)[:1]
    found = [[chance.variance(pair) for pair in pairs] for row in within
             if (chance := chance_of(np.sqrt(row)[:, None] * shape)) is not None]
    return tuple(np.moveaxis(np.array(found), 2, 0))  # type: ignore[return-value]


RULES: dict[str, Rule] = {"own where larger": own_where_larger, "pool": pooled, "pool or own by Bartlett": bartlett,
                          "moderated (Smyth)": moderated, "excite study": chosen}


def _inverse_trigamma(values: Float) -> Float:
    found: Float = 0.5 + 1 / values
    for _ in range(30):
        at = polygamma(1, found)
        found = found + at * (1 - at / values) / polygamma(2, found)
    return found


def simulated(rng: np.random.Generator, luck: Float, seeds: int, units: int) -> tuple[Float, ...]:
    """Return of one study the differences, W, the variance over units of the differences, and the part shared."""
    arms = len(luck)
    level = norm.ppf(RIGHT) * np.sqrt(HARD**2 + OWN**2 + luck**2 + NOISE**2)
    logits = (level[:, None, None] + HARD * rng.normal(size=units) + OWN * rng.normal(size=(arms, 1, units))
              + (luck[:, None] * rng.normal(size=(arms, seeds)))[..., None]
              + NOISE * rng.normal(size=(arms, seeds, units)))
    right = (logits > 0).astype(float)
    values = right.mean(axis=2)
    cov = np.cov(right.reshape(arms * seeds, units)).reshape(arms, seeds, arms, seeds) / units
    means, own = cov.mean(axis=(1, 3)), np.einsum("asas->a", cov)
    apart = own / seeds - (np.einsum("asat->a", cov) - own) / (seeds * (seeds - 1))
    whole = np.diag(means)[1:] + means[0, 0] - 2 * means[0, 1:]
    differences = values.mean(axis=1)[1:] - values.mean(axis=1)[0]
    return differences, values.var(axis=1, ddof=1), whole, np.maximum(0.0, whole - (apart[1:] + apart[0]) / seeds)


def holm_shown(p: Float) -> NDArray[np.bool_]:
    """Return which differences are shown, Holm's correction in each row."""
    order = np.argsort(p, axis=1)
    least = p.shape[1] - np.arange(p.shape[1])
    passed = np.logical_and.accumulate(np.take_along_axis(p, order, axis=1) * least < 0.05, axis=1)
    shown = np.empty_like(passed)
    np.put_along_axis(shown, order, passed, axis=1)
    return shown


def measure(luck: Float, seeds: int, units: int, studies: int) -> dict[str, list[float]]:
    """Return the numbers of each rule on the same studies, in percent and points."""
    rng = np.random.default_rng(0)
    differences, within, whole, common = (np.stack(part) for part in zip(
        *(simulated(rng, luck, seeds, units) for _ in range(studies)), strict=True))
    found = {}
    for name, rule in RULES.items():
        training, freedom = rule(within, seeds)
        training = training / seeds
        error = np.sqrt(np.maximum(training + common, whole))
        degrees = (training + common) ** 2 / np.maximum(training**2 / freedom + common**2 / (units - 1), 1e-300)
        half = t.ppf(0.975, degrees) * error
        held = np.abs(differences) <= half
        numbers = [held[:, :-1].mean() if len(luck) > 2 else np.nan, held[:, -1].mean(),
                   holm_shown(2 * t.sf(np.abs(differences) / error, degrees)).any(axis=1).mean()]
        for better in (0.05, 0.10):
            moved = differences + better * (np.arange(len(luck) - 1) == 0)
            numbers.append(holm_shown(2 * t.sf(np.abs(moved) / error, degrees))[:, 0].mean())
        found[name] = [100 * float(one) for one in (*numbers, 2 * np.median(half[:, 0]))]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("studies", 1000), ("units", 500)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--luck", type=float, default=0.12)
    asked = parser.parse_args()
    print("| arms x seeds | one arm restless | rule | holds the truth: alike / restless, % | false difference, % | "
          "5 points shown, % | 10 points, % | median length, points |\n|:--|--:|:--|--:|--:|--:|--:|--:|")
    for arms in (2, 4, 10):
        for seeds in (2, 3, 5):
            for times in (1, 2, 4, 8):
                luck = np.append(np.full(arms - 1, asked.luck), times * asked.luck)
                for name, (alike, restless, false, five, ten, length) in measure(luck, seeds, asked.units,
                                                                                 asked.studies).items():
                    held = f"{alike:.1f} / {restless:.1f}" if arms > 2 else f"{restless:.1f}"
                    print(f"| {arms} x {seeds} | {times} x | {name} | {held} | {false:.1f} | {five:.0f} | {ten:.0f} | "
                          f"{length:.1f} |", flush=True)


if __name__ == "__main__":
    main()
