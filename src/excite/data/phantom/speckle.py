"""From scatterers to a picture: what a curved ultrasound probe makes of echogenicity and attenuation.

Sources: Wagner et al., "Statistics of speckle in ultrasound B-scans", IEEE Trans. Sonics Ultrason. 30(3), 1983 (fully
developed speckle: the envelope is Rayleigh, mean / std = 1.91); Jensen, "Field: a program for simulating ultrasound
systems", 1996 (scatterers convolved with a point-spread function). The signal is simulated at baseband: a scatterer
at depth z brings the phase -4 pi z / wavelength of the carrier, so the magnitude after pulse and beam is the envelope
of the radio-frequency line (a test compares the two).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

Plane = NDArray[np.float32]
SOUND = 1.54  # mm in a microsecond


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A curved array and its settings.

    Args:
        frequency: Of the carrier, MHz.
        radius: Of the array's curve, mm.
        angle: Half the opening, radians.
        depth: Of the picture, mm.
        focus: Depth of the narrowest beam, mm.
        aperture: Width that makes the beam, mm; a wider one focuses more sharply.
        cycles: Length of the pulse in periods (two sigma).
        samples: Along a line.
        lines: Number of scan lines.
    """

    frequency: float = 3.5
    radius: float = 50.0
    angle: float = 0.62
    depth: float = 140.0
    focus: float = 70.0
    aperture: float = 14.0
    cycles: float = 2.4
    samples: int = 448
    lines: int = 176

    @property
    def wavelength(self) -> float:
        """Return the carrier's wavelength in mm."""
        return SOUND / self.frequency

    @property
    def step(self) -> float:
        """Return the depth between two samples in mm."""
        return self.depth / self.samples

    def depths(self) -> Plane:
        """Return the depth below the array of each sample, (samples, 1), mm."""
        return ((np.arange(self.samples, dtype=np.float32) + 0.5) * self.step)[:, None]

    def angles(self) -> Plane:
        """Return the angle of each line, (1, lines), radians."""
        return np.linspace(-self.angle, self.angle, self.lines, dtype=np.float32)[None, :]

    def grid(self) -> tuple[Plane, Plane]:
        """Return x (to the right of the middle) and z (below the array's top) of each cell, (samples, lines), mm."""
        reach = self.radius + self.depths()
        return reach * np.sin(self.angles()), reach * np.cos(self.angles()) - self.radius

    def beam_width(self) -> Plane:
        """Return the lateral sigma of the two-way beam at each depth, (samples, 1), mm.

        Diffraction gives 0.37 wavelength * depth / aperture (the Gaussian of the sinc's width); away from the focus the
        beam is a cone from the aperture.
        """
        z = self.depths()
        diffraction = 0.37 * self.wavelength * np.maximum(z, 12.0) / self.aperture
        cone = 0.11 * self.aperture * np.abs(z - self.focus) / self.focus
        width: Plane = np.hypot(diffraction, cone).astype(np.float32)
        return width


def backscatter(echo: Plane, random: np.random.Generator) -> NDArray[np.complex64]:
    """Return the baseband signal of the scatterers in each cell, of mean power echo squared.

    A cell holds many scatterers at random depths over more than half a wavelength, so their sum of amplitudes with the
    carrier's phase is a circular complex normal number (Goodman, "Some fundamental properties of speckle", 1976).

    Shape:
        echo (samples, lines), root-mean-square reflectivity -> (samples, lines) before pulse and beam.
    """
    parts = random.standard_normal((*echo.shape, 2), dtype=np.float32) * np.float32(np.sqrt(0.5))
    signal: NDArray[np.complex64] = parts.view(np.complex64)[..., 0] * echo
    return signal


def receive(signal: NDArray[np.complex64], probe: Probe) -> NDArray[np.complex64]:
    """Return the signal after the pulse along each line and the beam across the lines, of unit mean power gain.

    Shape:
        (samples, lines) -> (samples, lines)
    """
    sigma = 0.25 * probe.cycles * probe.wavelength / probe.step  # there and back: n periods span n / 2 wavelengths
    parts = np.stack([signal.real, signal.imag], axis=-1)
    pulsed = cv2.GaussianBlur(parts, (1, 2 * int(4 * sigma) + 3), 0.01, sigmaY=sigma, borderType=cv2.BORDER_REFLECT)
    pulsed = pulsed[..., 0] + 1j * pulsed[..., 1]
    spacing = (probe.radius + probe.depths()) * (2 * probe.angle / (probe.lines - 1))
    width = probe.beam_width() / spacing  # in lines
    pad = probe.lines // 8
    spectrum = scipy.fft.fft(np.pad(pulsed, ((0, 0), (pad, pad)), mode="reflect"), axis=1)
    frequency = scipy.fft.fftfreq(spectrum.shape[1]).astype(np.float32)[None, :]
    beam = np.exp(-2 * (np.pi * frequency * width) ** 2)
    power = np.sqrt(np.mean(beam * beam, axis=1, keepdims=True) / (2 * np.sqrt(np.pi) * sigma))
    out: NDArray[np.complex64] = scipy.fft.ifft(spectrum * (beam / power), axis=1)[:, pad:-pad].astype(np.complex64)
    return out


def envelope(echo: Plane, attenuation: Plane, probe: Probe, random: np.random.Generator, *, gain_slope: float = 0.5,
             noise: float = 0.0, looks: int = 1) -> Plane:
    """Return the envelope of the echoes, time gain compensated.

    Args:
        echo: Root-mean-square reflectivity.
        attenuation: dB a cm and MHz, one way: about 0.5 in tissue, 0 in fluid, 10 and more in bone.
        probe: What is listened with.
        random: Draws scatterers and noise.
        gain_slope: What the time gain compensation takes the attenuation for, dB a cm and MHz.
        noise: Of the receiver, before the compensation; the deeper, the more of it is seen.
        looks: Pictures with other speckle whose mean is shown, as machines do by compounding; 1 is plain speckle.

    Shape:
        echo, attenuation (samples, lines) -> (samples, lines)
    """
    per_cell = 2 * probe.frequency * probe.step / 10  # dB for a coefficient of 1, there and back
    loss = np.cumsum(attenuation, axis=0, dtype=np.float32) * np.float32(per_cell)
    heard: Plane = (echo * 10 ** (-loss / 20)).astype(np.float32)
    total = np.zeros(echo.shape, np.float32)
    for _ in range(looks):
        received = receive(backscatter(heard, random), probe)
        if noise > 0:
            hiss = random.standard_normal((2, *echo.shape), dtype=np.float32)
            received = received + np.float32(noise) * (hiss[0] + 1j * hiss[1])
        total += np.abs(received)
    compensation = 10 ** (2 * probe.frequency * gain_slope * probe.depths() / 200)
    return (total / looks * compensation).astype(np.float32)


def compress(amplitude: Plane, *, dynamic_range: float, gain: float) -> Plane:
    """Return grey values in 0..255: 0 dB (an amplitude of 1, `gain` added) is white, -`dynamic_range` dB is black."""
    decibel = 20 * np.log10(np.maximum(amplitude, 1e-8)) + gain
    return np.clip(255 * (1 + decibel / dynamic_range), 0, 255).astype(np.float32)


def scan_convert(lines: Plane, probe: Probe, *, height: int, width: int) -> tuple[NDArray[np.uint8], float]:
    """Return the fan as a picture, black outside, and its millimetres a pixel.

    Shape:
        (samples, lines) -> (height, width)
    """
    top = probe.radius * (1 - np.cos(probe.angle))  # the array's corners lie this much above its middle
    half = (probe.radius + probe.depth) * np.sin(probe.angle)
    scale = max((probe.depth + top) / height, 2 * half / width) * 1.02
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2)[None, :] * np.float32(scale)
    z = (np.arange(height, dtype=np.float32) + 0.5)[:, None] * np.float32(scale) - np.float32(top)
    reach = np.hypot(x, z + probe.radius)
    row = (reach - probe.radius) / probe.step - 0.5
    column = (np.arctan2(x, z + probe.radius) + probe.angle) * ((probe.lines - 1) / (2 * probe.angle))
    smooth = cv2.GaussianBlur(lines, (5, 5), 0.6)  # no finer than the picture can show
    picture = cv2.remap(smooth, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.rint(picture).astype(np.uint8), float(scale)
