"""Smooth, plausible reflectance spectra of made-up materials, on the ground and in tissue; none is measured."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
GROUND = ("vegetation", "water", "soil", "roof")
TISSUE = ("mucosa", "tumour", "muscle", "fat", "vessel")


def ground_spectra(wavelengths: Numbers, classes: int, *, seed: int) -> tuple[tuple[str, ...], Numbers]:
    """Return names and reflectances of 0..1, (classes, bands); from the fifth class on they are random and smooth.

    Args:
        wavelengths: Nanometres, 400 to 2500.
        classes: How many.
        seed: Another seed, other spectra.
    """
    made = []
    for place in range(classes):
        random = np.random.default_rng([seed, 11, place])
        shape = (_vegetation, _water, _soil, _roof)[place] if place < len(GROUND) else _smooth
        made.append(shape(wavelengths, random))
    names = [GROUND[place] if place < len(GROUND) else f"material {place + 1}" for place in range(classes)]
    return tuple(names), np.clip(np.array(made), 0.005, 0.95)


def tissue_spectra(wavelengths: Numbers, classes: int, *, seed: int, patient: int) -> tuple[tuple[str, ...], Numbers]:
    """Return names and reflectances of 0..1, (classes, bands), which differ a little from patient to patient.

    Blood, its oxygen, fat and water darken a scattering background by their absorption (Beer and Lambert).

    Args:
        wavelengths: Nanometres, 500 to 1000.
        classes: How many, up to five.
        seed: Another seed, other patients.
        patient: Number; it changes blood, oxygen and brightness.
    """
    own, made = np.random.default_rng([seed, 13, patient]), []
    blood, oxygen, bright = own.uniform(0.8, 1.25), own.uniform(-0.06, 0.06), own.uniform(0.92, 1.08)
    for amount, bound, fat, water, base in _TISSUES[:classes]:
        bound = float(np.clip(bound + oxygen, 0, 1))
        absorbed = (blood * amount * (bound * _oxygenated(wavelengths) + (1 - bound) * _deoxygenated(wavelengths))
                    + fat * _bump(wavelengths, 930, 14) + water * _bump(wavelengths, 970, 25))
        made.append(bright * base * (wavelengths / 700) ** -0.35 * np.exp(-absorbed))
    return TISSUE[:classes], np.clip(np.array(made), 0.005, 0.95)


_TISSUES = (  # blood, share of it with oxygen, fat, water, brightness
    (0.75, 0.75, 0.05, 0.35, 0.55),
    (1.15, 0.55, 0.02, 0.50, 0.50),
    (1.00, 0.68, 0.05, 0.60, 0.42),
    (0.35, 0.75, 0.60, 0.10, 0.75),
    (2.20, 0.85, 0.02, 0.45, 0.45),
)


def _bump(x: Numbers, middle: float, width: float) -> Numbers:
    bump: Numbers = np.exp(-0.5 * ((x - middle) / width) ** 2)
    return bump


def _step(x: Numbers, middle: float, width: float) -> Numbers:
    step: Numbers = 1 / (1 + np.exp(-(x - middle) / width))
    return step


def _oxygenated(x: Numbers) -> Numbers:
    return _bump(x, 542, 12) + 1.05 * _bump(x, 577, 8) + 0.35 * _bump(x, 505, 25) + 0.06 * _bump(x, 920, 90)


def _deoxygenated(x: Numbers) -> Numbers:
    return 1.05 * _bump(x, 556, 20) + 0.35 * _bump(x, 505, 25) + 0.13 * _bump(x, 758, 16) + 0.10 * _bump(x, 650, 45)


def _moist(x: Numbers, depth: float) -> Numbers:
    """Return the factor that liquid water leaves."""
    damp: Numbers = np.exp(-depth * (_bump(x, 1450, 45) + 1.3 * _bump(x, 1940, 60) + 0.3 * _bump(x, 1200, 40)))
    return damp


def _vegetation(x: Numbers, random: np.random.Generator) -> Numbers:
    leaf = 0.05 + 0.06 * _bump(x, 550, 35) - 0.02 * _bump(x, 680, 20)
    leaf = leaf + random.uniform(0.38, 0.46) * _step(x, random.uniform(712, 722), 12) * np.exp(-(x - 900) / 2400)
    return leaf * _moist(x, random.uniform(0.8, 1.1))


def _water(x: Numbers, random: np.random.Generator) -> Numbers:
    return random.uniform(0.07, 0.1) * np.exp(-np.maximum(x - 480, 0) / random.uniform(180, 240)) + 0.008


def _soil(x: Numbers, random: np.random.Generator) -> Numbers:
    rise = random.uniform(0.36, 0.44) * (1 - np.exp(-(x - 300) / random.uniform(550, 750)))
    return rise * _moist(x, 0.25) * (1 - 0.12 * _bump(x, 2200, 30))


def _roof(x: Numbers, random: np.random.Generator) -> Numbers:
    return random.uniform(0.18, 0.24) + 0.03 * (x - 400) / 2100 + 0.05 * _step(x, 590, 25)


def _smooth(x: Numbers, random: np.random.Generator) -> Numbers:
    """Return a level with five broad bumps and two absorption bands."""
    spectrum = np.full(x.shape, random.uniform(0.15, 0.4))
    for middle in random.uniform(x[0], x[-1], 5):
        spectrum = spectrum + random.uniform(-0.12, 0.16) * _bump(x, middle, random.uniform(120, 400))
    for middle in random.uniform(x[0], x[-1], 2):
        spectrum = spectrum * (1 - random.uniform(0.1, 0.4) * _bump(x, middle, random.uniform(25, 60)))
    return spectrum
