"""What the checks of a picture promise: how often networks pass that should, and networks that should not.

    OMP_NUM_THREADS=1 python benchmarks/explain_checks.py location [--networks 3]
    OMP_NUM_THREADS=1 python benchmarks/explain_checks.py checks [--networks 8]

Simulated pictures: noise, in every second one a bright square at a random place; a network says whether there is one.
`location`: how much of Grad-CAM's map lies in the square. `checks`: two pictures of each kind, for networks that are
trained, trained on labels without sense, spoilt in known ways or not trained, and for a picture of the image's edges in
place of Grad-CAM.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.explain.deletion import Deletion, deletion, usual_cells
from excite.explain.gradcam import enlarged, gradcam, of_classes
from excite.explain.occlusion import own_mean
from excite.explain.randomised import Randomisation, randomisation
from excite.models.classifier import create_model

NETWORKS = ("resnet20", "se_resnet20")
SIDE, SMALL = 64, 32  # of the pictures; the square's side is a bit less than a third
RATE = 3e-3
Picture = Callable[[nn.Module], NDArray[np.float32]]


class Pictures(NamedTuple):
    """Pictures, whether they have a square, and where: its upper left corner."""

    images: Tensor
    labels: Tensor
    corners: NDArray[np.int64]


class Checked(NamedTuple):
    """A picture's checks and the class that was explained."""

    label: int
    randomisation: Randomisation
    deletion: Deletion


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("location", "checks"))
    parser.add_argument("--networks", type=int, default=None, help="so many of each kind")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    location(asked.networks or 3) if asked.what == "location" else checks(asked.networks or 8)


def location(count: int) -> None:
    """Print the share of the map in the square beside the share of the picture that the square is."""
    side = _side(SIDE)
    print(f"pictures {SIDE} x {SIDE}, the square is {(side / SIDE) ** 2:.3f} of one\n"
          f"{'network':<14}{'seed':>5}{'right':>7}{'of the map in the square':>26}{'its peak in the square':>24}")
    for name in NETWORKS:
        for seed in range(count):
            model, shown = trained(name, seed, SIDE, steps=30, batch=16), pictures(32, 999, SIDE)
            found = gradcam(model, shown.images, score=of_classes(torch.ones(32, dtype=torch.long)),
                            layers=["backbone"])
            maps = enlarged(found.maps[0], (SIDE, SIDE)).numpy()
            right = float((found.outputs.argmax(1) == shown.labels).float().mean())
            inside, peaks = zip(*(_inside(maps[place], shown.corners[place], side) for place in range(1, 32, 2)),
                                strict=True)
            print(f"{name:<14}{seed:>5}{right:>7.2f}{np.mean(inside):>26.2f}{np.mean(peaks):>24.2f}", flush=True)


def checks(count: int) -> None:
    """Print for each kind of network how often its pictures pass, and how alike they are to random networks' ones."""
    found: dict[str, list[Checked]] = defaultdict(list)
    for seed in range(count):
        for kind, model, edges in kinds(NETWORKS[seed % 2], seed):
            images = pictures(4, 424242 + seed).images
            found[kind] += [checked(model, image, edges=edges, seed=seed) for image in images]
        print(f"{seed + 1} of {count} networks of each kind", flush=True)
    print(f"{'':<20}{'pictures':>9}{'random weights':>15}{'likeness at each depth, the output layer first':>48}"
          f"{'deletion: square':>18}{'no square':>11}")
    for kind, rows in found.items():
        depths = np.array([[np.nan if one.median is None else one.median for one in row.randomisation.depths]
                           for row in rows])
        passed = [[row.deletion.passed for row in rows if row.label == label] for label in (1, 0)]
        share = [f"{sum(some)} of {len(some)}" for some in passed]
        print(f"{kind:<20}{len(rows):>9}{sum(row.randomisation.passed is True for row in rows):>12} ok"
              f"{'  '.join(f'{one:.2f}' for one in np.nanmedian(depths, axis=0)):>48}{share[0]:>18}{share[1]:>11}")


def kinds(name: str, seed: int) -> Iterator[tuple[str, nn.Module, bool]]:
    """Yield networks by what they are, and whether the picture is one of edges."""
    own = trained(name, seed, SMALL)
    yield "trained", own, False
    yield "output layer random", spoilt(own, seed, ("classifier",)), False
    yield "last stage random", spoilt(own, seed, ("classifier", "backbone.stages.2")), False
    deaf = deepcopy(own)
    deaf.get_submodule("classifier").weight.data *= 0.005
    yield "ignores its input", deaf, False
    yield "untrained", trained(name, seed, SMALL, steps=0), False
    yield "labels at random", trained(name, seed, SMALL, senseless=True), False
    yield "edges, no Grad-CAM", own, True


def trained(name: str, seed: int, size: int, *, steps: int = 60, batch: int = 32, senseless: bool = False) -> nn.Module:
    """Return a network after some steps; of senseless labels it learns the same 48 pictures by heart."""
    torch.manual_seed(seed)
    model = create_model(name, in_channels=1, num_classes=2).train()
    best = torch.optim.Adam(model.parameters(), RATE)
    same = pictures(48, 70 + seed, size)
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, 48))
    for step in range(steps):
        shown = pictures(batch, 1000 * seed + step, size)
        images, truth = shown.images, shown.labels
        if senseless:
            some = torch.randperm(48)[:batch]
            images, truth = same.images[some], labels[some]
        best.zero_grad()
        nn.functional.cross_entropy(model(images), truth).backward()
        best.step()
    return model.eval() if steps else _settled(model, size)


def spoilt(model: nn.Module, seed: int, parts: tuple[str, ...]) -> nn.Module:
    """Return a copy in which the weights of some parts are shuffled."""
    copy = deepcopy(model)
    torch.manual_seed(seed)
    for name, value in copy.named_parameters():
        if name.startswith(parts):
            value.data = value.data.flatten()[torch.randperm(value.numel())].view_as(value)
    return _settled(copy, SMALL)


def checked(model: nn.Module, image: Tensor, *, edges: bool, seed: int) -> Checked:
    """Return the checks of the picture of the class that the network says."""
    with torch.no_grad():
        label = model(image[None]).argmax(1)

    def picture(network: nn.Module) -> NDArray[np.float32]:
        if edges:
            return np.hypot(*(cv2.Sobel(image[0].numpy(), cv2.CV_32F, *way) for way in ((1, 0), (0, 1))))[None]
        return gradcam(network, image[None], score=of_classes(label), layers=["backbone"]).maps[0].numpy()

    own = picture(model)
    large = enlarged(torch.from_numpy(own), image.shape[1:]).numpy()
    return Checked(int(label), randomisation(own, picture, model, image[None], draws=5, seed=seed), deletion(
        lambda inputs: model(inputs).double().softmax(1)[:, int(label)], image, large, batch=64, seed=seed,
        cells=usual_cells(image.shape[1:]), fill=own_mean(image)))


def pictures(count: int, seed: int, size: int = SMALL) -> Pictures:
    """Return normalised pictures; every second one has a square."""
    random, side = np.random.default_rng(seed), _side(size)
    images = random.uniform(0, 0.25, (count, 1, size, size)).astype(np.float32)
    corners = random.integers(0, size - side + 1, (count, 2))
    for place in range(1, count, 2):
        row, column = corners[place]
        images[place, 0, row:row + side, column:column + side] = 0.9
    return Pictures(torch.from_numpy((images - 0.2) / 0.25), torch.arange(count) % 2, corners)


def _settled(model: nn.Module, size: int) -> nn.Module:
    """Return a network whose norms know their weights' statistics."""
    with torch.no_grad():
        for step in range(20):
            model.train()(pictures(32, 5000 + step, size).images)
    return model.eval()


def _inside(drawn: NDArray[np.float32], corner: NDArray[np.int64], side: int) -> tuple[float, bool]:
    box = tuple(slice(int(first), int(first) + side) for first in corner)
    peak = np.unravel_index(drawn.argmax(), drawn.shape)
    return float(drawn[box].sum() / drawn.sum()), all(one.start <= at < one.stop for one, at in zip(box, peak,
                                                                                                 strict=True))


def _side(size: int) -> int:
    return size * 10 // 32


if __name__ == "__main__":
    main()
