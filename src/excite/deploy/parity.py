"""Does the exported network compute what the trained one does? Asked on real images, never on noise.

Noise is no test: a network hardly sees it, and the two agree on it while they differ on pictures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from excite.deploy.export import Shipped, evaluating
from excite.deploy.intake import Ready
from excite.deploy.runtime import Predictor
from excite.deploy.session import open_session
from excite.errors import ExciteError, ParityError, UsageError
from excite.machine import usable_cores
from excite.progress import Progress, silent

Float = NDArray[np.float32]
RELATIVE_LIMIT = 1e-4  # of the largest output, float32; rounding alone gives 1e-6
INPUT_LIMIT = 1e-5     # of the prepared pixels, which are about 1


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an exported network is from the trained one.

    Args:
        n: Images compared.
        max_abs: Largest difference of a logit.
        max_rel: `max_abs` over the largest logit.
        features_max_rel: The same for the features.
        agreement: Share of images with the same label; exact ties of the two best logits count as the same.
        worst: The image of `max_abs`.
    """

    n: int
    max_abs: float
    max_rel: float
    features_max_rel: float
    agreement: float
    worst: str

    def to_json(self) -> dict[str, object]:
        """Return plain data for bundle.json; without the image's name, which may be a person's."""
        return {key: value for key, value in asdict(self).items() if key != "worst"} | {"limit": RELATIVE_LIMIT}

    def text(self) -> str:
        """Return the numbers in words."""
        return (f"largest difference {self.max_abs:.3g} = {self.max_rel:.3g} of the largest output (limit "
                f"{RELATIVE_LIMIT:g}), features {self.features_max_rel:.3g}, labels equal on {self.agreement:.1%} of "
                f"{self.n} images, worst: {self.worst}")


def parity(model: nn.Module, onnx: Path, images: Float, *, clinical: Float | None = None,
           names: Sequence[str] | None = None, batch_size: int = 8, progress: Progress | None = None) -> Parity:
    """Compare the network with its export on prepared real images.

    Args:
        images: (N, C, S, S) float32, as the preprocessing makes them.
        clinical: (N, F) float32, NaN where a value is missing, of a network that takes some beside the images.
        names: Of the images, for the message.

    Raises:
        ParityError: the outputs differ by more than RELATIVE_LIMIT, are not finite, or a label differs.
        UsageError: there is no image.
    """
    progress = progress or silent()
    if not len(images):
        raise UsageError("parity needs at least one real image", fix="give some of the validation part")
    names = list(names) if names is not None else [f"image {row}" for row in range(len(images))]
    session = open_session(onnx, threads=usable_cores())
    sources = [one.name for one in session.get_inputs()]
    given = [images] if clinical is None else [images, clinical]
    trained: list[list[Float]] = [[], []]
    shipped: list[list[Float]] = [[], []]
    network = Shipped(model)
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = [np.ascontiguousarray(one[start:start + batch_size], dtype=np.float32) for one in given]
            device = next((one.device for one in model.parameters()), torch.device("cpu"))
            tensors = [torch.from_numpy(one).to(device) for one in batch]
            _, features = network(*tensors)
            trained[0].append(model(*tensors).float().cpu().numpy())  # the network's own way, not the wrapper's
            trained[1].append(features.float().cpu().numpy())
            for place, value in enumerate(session.run(["logits", "features"], dict(zip(sources, batch, strict=True)))):
                shipped[place].append(value)
            progress.step("parity", min(start + batch_size, len(images)), len(images))
    return compare([np.concatenate(part) for part in trained], [np.concatenate(part) for part in shipped], names)


def compare(trained: Sequence[Float], shipped: Sequence[Float], names: Sequence[str]) -> Parity:
    """Return how far `shipped` (logits, features) is from `trained`.

    Raises:
        ParityError: too far.
    """
    for kind, values in (("trained", trained), ("exported", shipped)):
        bad = ~np.isfinite(values[0]).all(axis=1)
        if bad.any():
            raise ParityError(f"the {kind} network's outputs are not finite on {bad.sum()} of {len(names)} images",
                              where=names[int(bad.argmax())], fix="look at the training log for a broken epoch")
    distance = np.abs(trained[0].astype(np.float64) - shipped[0]).max(axis=1)
    found = Parity(n=len(names), max_abs=float(distance.max()), max_rel=_relative(trained[0], shipped[0]),
                   features_max_rel=_relative(trained[1], shipped[1]), agreement=_agree(trained[0], shipped[0]),
                   worst=names[int(distance.argmax())])
    if not (found.max_rel <= RELATIVE_LIMIT and found.features_max_rel <= RELATIVE_LIMIT and found.agreement == 1):
        raise ParityError("the exported network does not compute what the trained one does", why=found.text(),
                          fix="nothing was written; report this network to the project, it cannot be shipped as it is")
    return found


def same_input(predictor: Predictor, files: Sequence[Path], images: Float) -> list[Ready]:
    """Check that the bundle prepares the files as the training did: most lost accuracy after an export is lost here.

    Returns what it makes of them.

    Raises:
        ParityError: it makes other pixels of a file, or cannot read it.
    """
    found = []
    for file, expected in zip(files, images, strict=True):
        try:
            ready = predictor.intake.take(file)
        except ExciteError as fault:
            raise ParityError("the bundle cannot prepare an image of the training", why=fault.message()) from None
        got = ready.image if ready.image is not None else np.zeros(0, np.float32)
        far = float(np.abs(got - expected).max()) if got.shape == expected.shape else float("inf")
        if not far <= INPUT_LIMIT:
            raise ParityError("the bundle prepares an image otherwise than the training did", where=file,
                              why=f"shape {got.shape} against {expected.shape}, pixels differ by up to {far:.3g}, "
                                  f"limit {INPUT_LIMIT:g}",
                              fix="the file changed since, or the network was trained with another preprocessing")
        found.append(replace(ready, image=None))
    return found


def _relative(a: Float, b: Float) -> float:
    if a.shape != b.shape:
        return float("inf")
    top = float(np.abs(a).max())
    far = float(np.abs(a.astype(np.float64) - b).max())
    return far / top if top > 0 else (0.0 if far == 0 else float("inf"))


def _agree(trained: Float, shipped: Float) -> float:
    """Return the share of rows whose labels are equal; a label that ties with the other network's best counts."""
    rows = np.arange(len(trained))
    ours, theirs = trained.argmax(axis=1), shipped.argmax(axis=1)
    same = (trained[rows, theirs] == trained[rows, ours]) | (shipped[rows, ours] == shipped[rows, theirs])
    return float(same.mean())
