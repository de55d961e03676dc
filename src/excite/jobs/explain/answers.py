"""What of a network's outputs is explained: one class a sample, or the region of a class that was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from excite.deploy.bundle import BundleInfo
from excite.errors import UsageError
from excite.explain.gradcam import Score, of_classes, of_regions
from excite.outcome.decode import decode
from excite.registry import nearest

Worth = Callable[[Tensor], Tensor]  # outputs (B, K, ...) to the probability that is explained, (B,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """What is explained of one sample.

    Args:
        predicted: The class that the network says; of several regions that of the largest.
        explained: The class that is explained.
        place: Of it among the outputs.
        probability: Of it; of a region the mean inside.
        region: (*S) in the network's input; None of classes.
        nothing: Why there is nothing to explain; empty otherwise.
    """

    predicted: str
    explained: str
    place: int
    probability: float
    region: NDArray[np.bool_] | None = None
    nothing: str = ""


class Answer(Protocol):
    """What is explained, for one kind of network."""

    def choose(self, outputs: Tensor) -> list[Choice]:
        """Return what is explained of each sample; the outputs are of each view, mirrored ones as the network gave.

        Shape:
            (V, N, K, ...)
        """

    def score(self, choices: Sequence[Choice], views: int) -> Score:
        """Return the number that rises with what is explained, of outputs (V * N, K, ...)."""

    def worth(self, choice: Choice) -> Worth:
        """Return what tells the probability of what is explained from outputs (B, K, ...) of one view."""


def answer_of(info: BundleInfo, label: str | None) -> Answer:
    """Return what is explained of a bundle's network.

    Args:
        label: Name of the class; None: the one that is predicted.

    Raises:
        UsageError: the bundle has no such class; the nearest is named.
    """
    several = info.classes[1:] if info.task == "volume_masks" or (info.of_masks and len(info.classes) > 1) \
        else info.classes
    if label is not None and label not in several:
        raise UsageError(f"the network has no class {label!r}",
                         fix=f"{nearest(label, list(several))}classes: {', '.join(several)}")
    place = None if label is None else info.classes.index(label)
    return RegionAnswer(info, place) if info.of_masks or info.task == "volume_masks" else ClassAnswer(info, place)


class ClassAnswer:
    """The logit of one class."""

    def __init__(self, info: BundleInfo, place: int | None) -> None:
        self.info, self.place = info, place

    def choose(self, outputs: Tensor) -> list[Choice]:
        """Return the class that is asked for, or the most probable one, with its probability over the views."""
        shares = decode(outputs.double().numpy(), classes=self.info.classes, temperature=self.info.temperature)
        found = []
        for row in shares:
            best = int(row.argmax())
            place = best if self.place is None else self.place
            found.append(Choice(predicted=self.info.classes[best], explained=self.info.classes[place], place=place,
                                probability=float(row[place])))
        return found

    def score(self, choices: Sequence[Choice], views: int) -> Score:
        """Return the logits of the classes."""
        return of_classes(torch.tensor([one.place for one in choices] * views))

    def worth(self, choice: Choice) -> Worth:
        """Return the probability of the class."""
        return lambda outputs: (outputs.double() / self.info.temperature).softmax(1)[:, choice.place]


class RegionAnswer:
    """The sum of the logits of a class where it was found, or where it is likeliest if it was found nowhere."""

    def __init__(self, info: BundleInfo, place: int | None) -> None:
        self.info, self.place = info, place
        self.single = len(info.classes) == 1

    def choose(self, outputs: Tensor) -> list[Choice]:
        """Return the region of the class that is asked for, or of the largest one found."""
        mean = outputs[0] if len(outputs) == 1 else (outputs[0] + outputs[1].flip(-1)) / 2
        shares = (mean.sigmoid() if self.single else mean.softmax(1)).numpy()
        return [self._one(one) for one in shares]

    def region_in(self, shares: NDArray[np.float32], place: int) -> NDArray[np.bool_]:
        """Return where a class is found, by the probabilities (K, *S)."""
        if self.single:
            return np.asarray(shares[0] >= np.float32(self.info.level))
        return np.asarray(shares.argmax(axis=0) == place)

    def _one(self, shares: NDArray[np.float32]) -> Choice:
        if self.single:
            largest = 0
        else:
            counts = np.bincount(shares.argmax(axis=0).ravel(), minlength=len(shares))
            largest = 1 + int(counts[1:].argmax())
        place = largest if self.place is None else self.place
        region, name = self.region_in(shares, place), self.info.classes[place]
        found = bool(self.region_in(shares, largest).any())
        return Choice(predicted=self.info.classes[largest] if found else "nothing", explained=name, place=place,
                      probability=float(shares[place][region].mean()) if region.any() else float(shares[place].max()),
                      region=region, nothing="" if region.any() else f"no {name} was found: there is no region to "
                      "explain")

    def score(self, choices: Sequence[Choice], views: int) -> Score:
        """Return the sum of the logits of each region; that of a mirror image is mirrored."""
        regions = torch.stack([torch.from_numpy(np.asarray(one.region)) for one in choices])
        every = regions if views == 1 else torch.cat((regions, regions.flip(-1)))
        places = [one.place for one in choices] * views
        rows = torch.arange(len(every))
        return lambda logits: of_regions(every)(logits[rows, places])

    def worth(self, choice: Choice) -> Worth:
        """Return the mean probability in the region."""
        region = torch.from_numpy(np.asarray(choice.region))

        def mean(outputs: Tensor) -> Tensor:
            shares = outputs.sigmoid() if self.single else outputs.softmax(1)
            return shares[:, choice.place][:, region].mean(1)

        return mean
