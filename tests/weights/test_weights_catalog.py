"""The catalog's rows: addresses, hashes, options; and against the packages that publish the files."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from torch import nn

from excite.models.classifier import create_model
from excite.models.registry import BACKBONES
from excite.weights.catalog import CATALOG, Row, find, recognise
from excite.weights.load import load_weights

HOSTS = ("download.pytorch.org", "github.com", "raw.githubusercontent.com")  # where the authors publish
ROWS = pytest.mark.parametrize("row", CATALOG, ids=lambda row: row.name)


def refuse_row(row: Row) -> None:
    """Check what every row owes a user who has only its words."""
    if row.url is not None:
        address = urlsplit(row.url)
        assert address.scheme == "https" and address.hostname in HOSTS
        assert row.whole_hash or row.sha256 in address.path.rsplit("/", 1)[-1]
    assert row.sha256 == "" or (8 <= len(row.sha256) <= 64 and int(row.sha256, 16) >= 0)
    assert row.sha256 or (row.url is None and "sha256" in row.note)  # unchecked files are not offered, and it is said
    assert (row.top1 is None) == (row.top5 is None)
    assert row.top1 is None or row.top5 is None or 50 < row.top1 < row.top5 < 100
    assert row.licence and row.source and {"mean", "std", "size", "resize"} <= row.preprocessing.keys()


@ROWS
def test_a_row_is_whole(row: Row) -> None:
    refuse_row(row)
    assert row.backbone in BACKBONES


@pytest.mark.parametrize("change", [
    {"url": "http://download.pytorch.org/models/resnet18-f37072fd.pth"},
    {"url": "https://download.pytorch.org/models/resnet18-00000000.pth"},
    {"url": "https://example.org/models/resnet18-f37072fd.pth"},
    {"sha256": ""}, {"top5": 60.0}, {"licence": ""},
])
def test_a_row_that_is_not_whole_would_be_found_out(change: dict[str, object]) -> None:
    row = find("resnet18", "imagenet")
    assert row is not None
    with pytest.raises(AssertionError):
        refuse_row(replace(row, **change))  # type: ignore[arg-type]


def test_names_and_hashes_are_those_of_one_row() -> None:
    assert len({(row.backbone, row.tag) for row in CATALOG}) == len(CATALOG)
    for row in CATALOG:
        if row.sha256:
            assert recognise(row.sha256.ljust(64, "0")) is row  # no prefix hides another
    assert recognise("") is None  # the row without a hash is no one's
    assert recognise("cc2658beb9ea3ced925d5c657bafb194289cf45634ff6fb23858e3ce808abbb0") is find(
        "mobilenet_v3_small", "imagenet-dequantised")


def test_a_row_says_how_its_network_is_built() -> None:
    row = find("shufflenet_v2", "imagenet-x0.5")
    assert row is not None and row.call == "create_model('shufflenet_v2', width=0.5)"
    row = find("se_resnet50", "imagenet-timm-a1")
    assert row is not None and row.call == "create_model('se_resnet50', stride_in='conv2')"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Zeros for first weights: only names and shapes matter here."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "xavier_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: nn.init.zeros_(tensor))
    yield


def reference(row: Row) -> nn.Module | None:
    """Return the public network that the row's file is of, and check the row's figures on the way; None: not public."""
    if "torchvision" in (row.source.split()[0], row.layout):
        return of_torchvision(row)
    if row.layout in ("timm", "cadene"):
        return of_timm(row)
    return None


def of_torchvision(row: Row) -> nn.Module:
    from torchvision import models

    width = str(row.options.get("width", "1.0")).replace(".", "_")
    name = f"shufflenet_v2_x{width}" if row.backbone == "shufflenet_v2" else row.backbone
    if row.source.startswith("torchvision "):
        kind, _, member = row.source.removeprefix("torchvision ").partition(".")
        weights = models.get_model_weights(name)[member]
        assert weights.__class__.__name__ == kind and weights.url == row.url
        assert weights.meta["_metrics"]["ImageNet-1K"] == {"acc@1": row.top1, "acc@5": row.top5}
        transforms = weights.transforms()
        assert (tuple(transforms.mean), tuple(transforms.std)) == (row.preprocessing["mean"], row.preprocessing["std"])
        assert transforms.crop_size == [row.preprocessing["size"]]
        assert transforms.resize_size == [row.preprocessing["resize"]]
    network: nn.Module = models.get_model(name)
    return network


def of_timm(row: Row) -> nn.Module:
    import timm

    name = {"mobilenet_v1": "mobilenetv1_100"}.get(row.backbone, row.backbone.replace("se_", "se"))
    name = name if row.layout == "timm" else f"legacy_{name}"
    if row.source.startswith("timm "):
        name = row.source.split()[1].rstrip(",")
    config = timm.get_pretrained_cfg(name)
    project = "/pytorch-image-models/"
    assert row.url is None or config.url.split(project)[1] == row.url.split(project)[1]
    assert (config.mean, config.std) == (row.preprocessing["mean"], row.preprocessing["std"])
    network: nn.Module = timm.create_model(name)
    return network


@pytest.mark.peers
@ROWS
def test_the_keys_of_the_published_network_load_whole(row: Row, quick: None) -> None:
    network = reference(row)
    if network is None:
        pytest.skip("no public package builds this layout: the file itself is loaded in test_weights_real.py")
    state = {key: value for key, value in network.state_dict().items()
             if row.part == "all" or not key.startswith("classifier.")}
    model = create_model(row.backbone, **row.options)
    report = load_weights(model, state, layout=row.layout)
    assert (report.percent, report.part) == (100, row.part), report.text()
    assert set(report.loaded) >= {key for key, _ in model.named_parameters() if row.part == "all"}


@pytest.mark.peers
def test_cadenes_own_files_have_the_hashes_that_its_page_names() -> None:
    spec = importlib.util.find_spec("pretrainedmodels")
    assert spec is not None and spec.origin is not None
    page = (Path(spec.origin).parent / "models" / "senet.py").read_text(encoding="utf-8")
    rows = [row for row in CATALOG if row.layout == "cadene" and row.url is None]
    assert len(rows) == 3
    for row in rows:
        assert f"http://data.lip6.fr/cadene/pretrainedmodels/{row.backbone}-{row.sha256}.pth" in page
