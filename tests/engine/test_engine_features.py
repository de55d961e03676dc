"""Vectors in place of images: the loader's very order, every view in its turn, and a head that is the network's own."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.data.sections import CacheSection, PreprocessSection
from excite.engine.features import FeatureBatches, Head, QuickDropout
from excite.engine.loader import Loader
from excite.errors import ModelError, UsageError
from excite.models.classifier import create_model

COUNT, VIEWS, WIDTH = 21, 3, 5
LABELS = [0] * 14 + [1] * 5 + [2] * 2
PREPROCESS = Preprocess(PreprocessSection(size=16))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ImageCache:
    folder = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        Image.fromarray(np.full((16, 16), number, np.uint8)).save(folder / f"{number}.png")
    return ImageCache.build([folder / f"{number}.png" for number in range(COUNT)], PREPROCESS,
                            CacheSection(folder=folder / "cache"))


def told(rows: range | list[int], views: int = VIEWS) -> np.ndarray:
    """Return vectors that say their row and their view."""
    found = np.zeros((views, len(rows), WIDTH), np.float32)
    found[..., 0], found[..., 1] = np.array(rows)[None], np.arange(views)[:, None]
    return found


def made(cache: ImageCache, rows: range | list[int] = range(COUNT), *, views: int = VIEWS,
         **options: object) -> tuple[Loader, FeatureBatches]:
    loader = Loader(cache, PREPROCESS, rows, LABELS, **{"batch_size": 4, "seed": 1, **options})  # type: ignore[arg-type]
    return loader, FeatureBatches(loader, told(rows, views))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced", "order"])
def test_the_batches_are_the_loaders_with_vectors_for_images(cache: ImageCache, sampler: str) -> None:
    rows = [20, 3, 15, 0, 7, 19, 9, 14, 2]  # nine: the last one joins the batch before it, where it is shuffled
    loader, features = made(cache, rows, sampler=sampler)
    assert features.steps == loader.steps
    for epoch in (0, 5):
        pairs = list(zip(loader.batches(epoch), features.batches(epoch), strict=True))
        assert len(pairs) == loader.steps
        for theirs, ours in pairs:
            assert ours.index.tolist() == theirs.index.tolist() == ours.images[:, 0].tolist()
            assert torch.equal(ours.labels, theirs.labels) and ours.labels.dtype == torch.int64
            assert ours.images.dtype == torch.float32 and ours.images.shape == (len(ours.index), WIDTH)


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_any_start_gives_the_rest(cache: ImageCache, sampler: str) -> None:
    whole = list(made(cache, sampler=sampler)[1].batches(4))
    for start in (0, 2, len(whole)):
        rest = list(made(cache, sampler=sampler)[1].batches(4, start=start))
        assert len(rest) == len(whole) - start
        assert all(torch.equal(one.images, other.images) for one, other in zip(rest, whole[start:], strict=True))


def test_an_image_shows_every_view_in_as_many_epochs(cache: ImageCache) -> None:
    _, features = made(cache, sampler="shuffle")
    seen = Counter((int(row), int(view)) for epoch in range(7, 7 + VIEWS) for batch in features.batches(epoch)
                   for row, view in batch.images[:, :2].tolist())
    assert seen == {(row, view): 1 for row in range(COUNT) for view in range(VIEWS)}
    first = {int(view) for batch in features.batches(0) for view in batch.images[:, 1]}
    assert first == set(range(VIEWS))  # not all images show the same one at a time


def test_an_image_drawn_again_shows_the_next_view(cache: ImageCache) -> None:
    loader, features = made(cache, sampler="balanced")
    order = loader.order(0)
    drawn = order[order == 19] if (order == 19).any() else order[order == 20]
    assert len(drawn) == 4 or len(drawn) == 3  # of 7 of a class of two
    views = features.views(0, order)[order == drawn[0]].tolist()
    assert views == [(views[0] + number) % VIEWS for number in range(len(views))]


def test_one_view_is_always_the_same(cache: ImageCache) -> None:
    _, features = made(cache, views=1, sampler="shuffle")
    assert all(bool((batch.images[:, 1] == 0).all()) for epoch in range(3) for batch in features.batches(epoch))


def test_vectors_of_other_rows_or_that_are_not_finite_are_refused(cache: ImageCache) -> None:
    loader = made(cache)[0]
    for shape in ((VIEWS, COUNT - 1, WIDTH), (COUNT, WIDTH), (0, COUNT, WIDTH)):
        with pytest.raises(ModelError, match=r"vectors must be \(views, 21, F\)"):
            FeatureBatches(loader, np.zeros(shape, np.float32))
    broken = told(range(COUNT))
    broken[1, 13, 2] = np.inf
    with pytest.raises(ModelError, match=r"table rows 13, counted from 0: .*not finite for 1 of 21 images"):
        FeatureBatches(loader, broken)


def test_the_head_is_the_networks_own(cache: ImageCache) -> None:
    network = create_model("mobilenet_v2", num_classes=3, width=0.25, dropout=0.4).eval()
    head, images = Head(network).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(head(network.forward_features(images)), network(images))
    head.classifier.weight.data += 1
    assert head.classifier is network.classifier and head.dropout.limit == round(0.4 * 65536)
    assert sum(one.numel() for one in head.parameters()) == 3 * 1280 + 3


def test_dropout_is_torchs_in_the_mean_and_none_in_evaluation() -> None:
    torch.manual_seed(3)
    ours, theirs, x = QuickDropout(0.3), nn.Dropout(0.3), torch.rand(400, 500) + 1
    found, expected = ours(x), theirs(x)
    for one in (found, expected):
        assert float((one == 0).float().mean()) == pytest.approx(0.3, abs=4 * (0.21 / x.numel()) ** 0.5)
        assert float(one.mean() / x.mean()) == pytest.approx(1, abs=0.01)
    kept = found != 0
    torch.testing.assert_close(found[kept] / x[kept], (expected / x).max().expand(int(kept.sum())), rtol=1e-4, atol=0)
    rows = (found == 0).float().mean(0)  # no column or row is favoured
    assert float(rows.std()) == pytest.approx((0.21 / 400) ** 0.5, rel=0.2)
    assert ours.eval()(x) is x and QuickDropout(0.0).train()(x) is x


def test_dropout_comes_from_torchs_seed() -> None:
    x, drop = torch.ones(9, 40), QuickDropout(0.5)
    torch.manual_seed(8)
    first, second = drop(x), drop(x)
    torch.manual_seed(8)
    assert torch.equal(drop(x), first) and not torch.equal(first, second)
    with pytest.raises(UsageError, match=r"dropout must be at least 0 and below 1, got 1"):
        QuickDropout(1.0)


class Bare(nn.Module):
    """A network without what a head needs."""

    def __init__(self, **parts: object) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.mark.parametrize("parts", [{}, {"classifier": nn.Linear(3, 2)}, {"forward_features": lambda x: x},
                                   {"forward_features": lambda x: x, "classifier": lambda x: x}])
def test_a_network_without_vectors_is_refused(parts: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="a Bare has no forward_features and classifier"):
        Head(Bare(**parts))


def test_a_classifier_in_which_nothing_learns_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing in the network's classifier learns"):
        Head(Bare(forward_features=lambda x: x, classifier=nn.Linear(3, 2).requires_grad_(False)))
