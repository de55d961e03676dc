"""A dense layer on the window of every place of a map, through the Fourier transform of overlapping patches.

Such a layer is a correlation of the map with a kernel as large as the map of one window. Its product with the spectrum
of the kernel is one matrix product a frequency, and `size`^2 places of a patch give (size - side + 1)^2 results:

    y[p] = sum_q m[p + q] w[q],  Y[f] = M[f] conj(W[f])

The spectrum and the inverse transform are matrix products too, because only some of the values are wanted or are not
zero, and because their results then lie in memory as the next step reads them.
Source: overlap-save, e.g. Oppenheim, Schafer, "Discrete-Time Signal Processing", section 8.7.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Take = Callable[..., Tensor]  # (name, *shape, dtype) -> memory that is used again
SIZES = (16, 18, 20, 24, 30, 32, 36, 40, 45, 48, 54, 60, 64, 72, 80, 90, 96)  # that the transform is fast for
FREQUENCIES = 2200  # at most: 64 x 256 complex numbers each, 131 kB
LOADING = 12        # what a frequency of the spectrum counts, in products with a patch: tiles share it


def patch_size(side: int, places: int) -> int:
    """Return the patch's size for `places` x `places` results of a kernel of `side`: the least work by count.

    The count is of products of a frequency with a patch; at a side of 17 the sizes that it chooses, 45 for 145 places
    and 48 for 160, were the fastest of eight by the clock, too. It is the same on every machine, and so are results.
    """
    fits = [size for size in SIZES if size > side and size * (size // 2 + 1) <= FREQUENCIES] or [2 * side]
    return min(fits, key=lambda size: size * (size // 2 + 1) * (LOADING + math.ceil(places / (size - side + 1))**2))


class SceneDense:
    """The layer, for a map of any size.

    Args:
        dense: On the flattened map of a window, (channels * side * side) values.
        side: Of that map.
        size: Of a patch, above `side`.
        take: Gives memory.

    Shape:
        (H + side - 1, W + side - 1, channels) -> (step, step, rows, columns, out), the result at row r * step + y and
        column c * step + x being [y, x, r, c]; step = size - side + 1. What lies beyond H and W means nothing.
    """

    def __init__(self, dense: nn.Linear, *, side: int, size: int, take: Take) -> None:
        self.side, self.size, self.step, self.take = side, size, size - side + 1, take
        self.bias, self.out = dense.bias, dense.out_features
        weight = dense.weight.view(self.out, -1, side, side)
        self.channels, half = weight.shape[1], size // 2 + 1
        self.sums = weight.double().sum((2, 3))
        kernel = weight.permute(2, 3, 1, 0).reshape(side, side, -1)
        kind = kernel.dtype.to_complex()
        waves = _waves(size, side, weight.device)
        rows = torch.matmul(waves[:half].to(kind), kernel.to(kind))             # (side, half, channels * out)
        self.spectrum = torch.matmul(waves.to(kind), rows.view(side, -1)).view(size * half, self.channels, self.out)
        back = _waves(size, self.step, weight.device).T / size                   # (step, size)
        twice = torch.full((half,), 2.0, device=weight.device, dtype=torch.float64)
        twice[0] = 1.0
        if size % 2 == 0:
            twice[-1] = 1.0
        self.inverse_rows = back.to(kind)
        last = back[:, :half] * twice
        self.inverse_columns = torch.stack((last.real, -last.imag), dim=2).flatten(1).to(kernel.dtype)

    def __call__(self, maps: Tensor) -> Tensor:
        """Return the layer's results, patch by patch."""
        size, step, half = self.size, self.step, self.size // 2 + 1
        rows, columns = (math.ceil((length - self.side + 1) / step) for length in maps.shape[:2])
        level = maps.mean((0, 1))  # taken off first, so that rounding is that of what differs from it
        offset = self.sums @ level.double() + self.bias
        patches = self._patches(maps, level, rows, columns)
        count, kind = rows * columns, self.spectrum.dtype
        waves = torch.fft.rfft2(patches, dim=(0, 1)).view(-1, count, self.channels)
        product = torch.bmm(waves, self.spectrum, out=self.take("product", size * half, count, self.out, dtype=kind))
        halved = torch.matmul(self.inverse_rows, product.view(size, -1),
                              out=self.take("halved", step, half * count * self.out, dtype=kind))
        parts = self.take("parts", step, half, 2, count * self.out, dtype=maps.dtype)
        parts.copy_(torch.view_as_real(halved.view(step, half, -1)).transpose(2, 3))
        found = torch.matmul(self.inverse_columns, parts.view(step, half * 2, -1),
                             out=self.take("found", step, step, count * self.out, dtype=maps.dtype))
        return found.view(step, step, rows, columns, self.out).add_(offset.to(maps.dtype))

    def _patches(self, maps: Tensor, level: Tensor, rows: int, columns: int) -> Tensor:
        """Return (size, size, rows * columns, channels), the map less its level, zeros beyond."""
        size, step = self.size, self.step
        patches = self.take("patches", size, size, rows, columns, self.channels, dtype=maps.dtype)
        for row in range(rows):
            for column in range(columns):
                piece = maps[row * step:row * step + size, column * step:column * step + size]
                place = patches[:, :, row, column]
                if piece.shape[:2] != (size, size):
                    place.zero_()
                torch.sub(piece, level, out=place[:piece.shape[0], :piece.shape[1]])
        return patches.view(size, size, rows * columns, self.channels)


def _waves(size: int, places: int, device: torch.device) -> Tensor:
    """Return exp(2 pi i f p / size) for all frequencies f and the first places p, in double precision.

    The sign is that of the conjugate transform, and of the inverse one.
    """
    product = torch.outer(torch.arange(size, device=device), torch.arange(places, device=device)) % size
    angle = product.double() * (2 * math.pi / size)
    return torch.polar(torch.ones_like(angle), angle)
