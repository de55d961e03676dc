"""What papers and releases say their networks cost: the one place of these figures, for tests and for docs/models.md.

A figure in full is met exactly; a rounded one, written with a decimal exponent, within the row's share. "FLOPs" of
these papers are multiply-adds. Where a source rounds down or counts a layer otherwise, the row says so.
"""

from typing import Any, NamedTuple

TV = "torchvision 0.28, model card"


class Published(NamedTuple):
    """A row of a source's table."""

    network: str
    parameters: float | None  # an int is exact
    macs: float | None        # multiply-adds of one sample
    source: str
    options: tuple[tuple[str, Any], ...] = ()  # of create_model
    classes: int = 1000
    size: tuple[int, ...] = (3, 224, 224)      # channels first; its length says how many dimensions
    within: float = 0.01                       # share that a rounded figure may be off
    why: str = ""                              # where that is more than its rounding

    @property
    def dims(self) -> int:
        """Spatial dimensions."""
        return len(self.size) - 1


def _width(width: float) -> tuple[tuple[str, Any], ...]:
    return (("width", width),)


def _groups(groups: int, width: float) -> tuple[tuple[str, Any], ...]:
    return (("groups", groups), ("width", width))


V1, V2, V3 = "arXiv:1704.04861", "arXiv:1801.04381", "arXiv:1905.02244"
S1, S2 = "github.com/megvii-model/ShuffleNet-Series, ShuffleNetV1", "arXiv:1807.11164, table 5"
HE, XIE, HU = "arXiv:1512.03385", "arXiv:1611.05431, table 1", "arXiv:1709.01507"
OKAN = "github.com/okankop/Efficient-3DCNNs, its code counted"
KOPUKLU = "arXiv:1904.02422, table 8"
CLIP = (3, 16, 112, 112)
LISTING = "the common listing, whose last layer follows the width, counted"
CUT = "the paper cuts the figure off"

ROWS = (
    # the first row of a network at 1000 classes and its usual size is the one that docs/models.md shows
    Published("mobilenet_v1", 4_231_976, 569e6, f"timm mobilenetv1_100; {V1}, table 6"),
    Published("mobilenet_v1", 2.6e6, 325e6, f"{V1}, table 6", _width(0.75)),
    Published("mobilenet_v1", 1.3e6, 149e6, f"{V1}, table 6", _width(0.5), within=0.03, why="1.3 M is 1.33"),
    Published("mobilenet_v1", 0.5e6, 41e6, f"{V1}, table 6", _width(0.25), within=0.07, why="0.5 M is 0.47"),
    Published("mobilenet_v1", 4.2e6, 418e6, f"{V1}, table 7", size=(3, 192, 192)),
    Published("mobilenet_v1", 4.2e6, 290e6, f"{V1}, table 7", size=(3, 160, 160)),
    Published("mobilenet_v1", 4.2e6, 186e6, f"{V1}, table 7", size=(3, 128, 128)),
    Published("mobilenet_v1", 3.91e6, None, KOPUKLU, (("rounding", "truncate"),), 600, CLIP),
    Published("mobilenet_v1", 14.10e6, None, KOPUKLU, (("width", 2.0), ("rounding", "truncate")), 600, CLIP),
    Published("mobilenet_v2", 3_504_872, 0.301e9, TV),
    Published("mobilenet_v2", 3.4e6, 300e6, f"{V2}, table 4", within=0.035, why="the paper's 3.4 M is less than 3.50"),
    Published("mobilenet_v2", 6.9e6, 585e6, f"{V2}, table 4", _width(1.4), within=0.12,
              why="6.1 M in the authors' release, too; 582 M there"),
    *(Published("mobilenet_v2", parameters, None, LISTING, (("head", "scaled"), ("width", width)))
      for width, parameters in ((0.75, 2_238_984), (0.5, 1_225_000), (0.35, 750_280), (0.25, 480_392))),
    Published("mobilenet_v2", 3_635_048, None, OKAN, size=CLIP),
    Published("mobilenet_v2", 3_122_648, None, OKAN, (("rounding", "truncate"),), 600, CLIP),
    Published("mobilenet_v2_se", 3_693_668, None, OKAN, size=CLIP),
    Published("mobilenet_v2_se", 3_181_268, None, OKAN, classes=600, size=CLIP),
    Published("mobilenet_v2_se", 3_533_688, None, OKAN, (("se_in_blocks", False),), 600, CLIP),
    Published("mobilenet_v2_se", 1_533_189, None, OKAN, _width(0.5), 600, CLIP),
    Published("mobilenet_v2_se", 10_725_136, None, OKAN, _width(2.0), 600, CLIP),
    Published("mobilenet_v3_large", 5_483_032, 0.217e9, TV),
    Published("mobilenet_v3_large", 5.4e6, 219e6, f"{V3}, table 3", within=0.02, why="5.48 M and 217 M by torchvision"),
    Published("mobilenet_v3_small", 2_542_856, 0.057e9, TV),
    Published("mobilenet_v3_small", 2.5e6, 56e6, f"{V3}, table 3", within=0.02, why="rounded to two digits"),
    Published("shufflenet_v1", 1.9e6, 138e6, S1, within=0.02, why="rounded to two digits"),
    Published("shufflenet_v1", 5.4e6, 524e6, S1, _groups(3, 2.0)),
    Published("shufflenet_v1", 6.5e6, 522e6, S1, _groups(8, 2.0)),
    Published("shufflenet_v1", 3.4e6, 292e6, S1, _groups(3, 1.5), within=0.015, why="rounded to two digits"),
    Published("shufflenet_v1", 4.3e6, 290e6, S1, _groups(8, 1.5), within=0.015, why="rounded to two digits"),
    Published("shufflenet_v1", 2.4e6, 138e6, S1, _groups(8, 1.0), within=0.015, why="rounded to two digits"),
    Published("shufflenet_v1", 0.7e6, 38e6, S1, _groups(3, 0.5), within=0.05, why="rounded to one digit"),
    Published("shufflenet_v1", 1.0e6, 40e6, S1, _groups(8, 0.5), within=0.05, why="rounded to one digit"),
    Published("shufflenet_v2", 2_278_604, 0.145e9, TV),
    Published("shufflenet_v2", 2.3e6, 146e6, S2),
    Published("shufflenet_v2", 1_366_792, 41e6, S2, _width(0.5), within=0.015, why="rounded to two digits"),
    Published("shufflenet_v2", 3_503_624, 299e6, S2, _width(1.5), within=0.015, why="296 M by torchvision"),
    Published("shufflenet_v2", 7_393_996, 591e6, S2, _width(2.0), within=0.015, why="583 M by torchvision"),
    Published("resnet18", 11_689_512, 1.814e9, TV),
    Published("resnet18", None, 1.8e9, f"{HE}, table 1"),
    Published("resnet34", 21_797_672, 3.664e9, TV),
    Published("resnet34", None, 3.6e9, f"{HE}, table 1", within=0.02, why=CUT),
    Published("resnet50", 25_557_032, 4.089e9, TV),
    Published("resnet50", 25.5e6, 4.1e9, XIE),
    Published("resnet50", None, 3.8e9, f"{HE}, table 1", (("stride_in", "conv1"),), within=0.02, why=CUT),
    Published("resnet50", None, 3.86e9, f"{HU}, table 2", (("stride_in", "conv1"),)),
    Published("resnet101", 44_549_160, 7.801e9, TV),
    Published("resnet101", None, 7.6e9, f"{HE}, table 1", (("stride_in", "conv1"),)),
    Published("resnet101", None, 7.58e9, f"{HU}, table 2", (("stride_in", "conv1"),)),
    Published("resnet152", 60_192_808, 11.514e9, TV),
    Published("resnet152", None, 11.3e9, f"{HE}, table 1", (("stride_in", "conv1"),)),
    Published("resnet20", 0.27e6, None, f"{HE}, table 6", classes=10, size=(3, 32, 32)),
    Published("resnext50_32x4d", 25_028_904, 4.230e9, TV),
    Published("resnext50_32x4d", 25.0e6, 4.2e9, XIE),
    Published("resnext101_32x8d", 88_791_336, 16.414e9, TV),
    Published("bn_inception", None, 2.03e9, f"{HU}, table 2"),
    Published("se_inception", None, 2.04e9, f"{HU}, table 2"),
    Published("se_resnet50", 28_088_024, 3.87e9, f"timm legacy_seresnet50; {HU}, table 2"),
    Published("se_resnet50", 45_699_240, None, f"{HU}, table 10 (45.7 M), counted", (("reduction", 2),)),
    Published("se_resnet50", 35_635_688, None, f"{HU}, table 10 (35.7 M), counted", (("reduction", 4),)),
    Published("se_resnet50", 30_603_912, None, f"{HU}, table 10 (30.7 M), counted", (("reduction", 8),)),
    Published("se_resnet50", 26_830_080, None, f"{HU}, table 10 (26.9 M), counted", (("reduction", 32),)),
    Published("se_resnet50", 26_100_494, None, "timm legacy_seresnet50", classes=30),
    Published("se_resnet101", 49_326_872, 7.60e9, f"timm legacy_seresnet101; {HU}, table 2"),
    Published("se_resnet152", 66_821_848, 11.32e9, f"timm legacy_seresnet152; {HU}, table 2"),
    Published("se_resnext50_32x4d", 27_559_896, 4.25e9, f"timm legacy_seresnext50_32x4d; {HU}, table 2"),
    Published("se_resnext50_32x4d", 25_523_190, None, "timm legacy_seresnext50_32x4d", classes=6),
    Published("se_resnext101_32x4d", 48_955_416, 8.00e9, f"timm legacy_seresnext101_32x4d; {HU}, table 2"),
    Published("senet154", 115_088_984, None, "timm legacy_senet154"),
    Published("cbam_resnet50", 28.09e6, None, "arXiv:1807.06521, table 4"),
    Published("mobilenet_v2_aspp_se_unet", 25_253_893, 5.34e9, "the listing, counted", classes=1, size=(1, 256, 256)),
    Published("aspp_se_unet", 38_378_805, 54.53e9, "the listing, counted", classes=1, size=(1, 256, 256)),
    Published("hybridsn", 5_122_176, None, "arXiv:1902.06701, table I", classes=16, size=(30, 25, 25)),
    Published("hybridsn", 4_845_696, None, "the same network, counted", classes=16, size=(15, 25, 25)),
    Published("hybridsn", 4_844_793, None, "the same network, counted", classes=9, size=(15, 25, 25)),
)


def usual(network: str, size: tuple[int, ...]) -> Published | None:
    """Return the first row of a network as it comes, with its usual classes, for such an input."""
    return next((row for row in ROWS if (row.network, row.options, row.size) == (network, (), size)
                 and row.classes in (1, 16, 1000)), None)


def figure(number: float | None) -> str:
    """Return a figure as its source prints it: exact ones in full, rounded ones in millions or thousands of them."""
    if number is None:
        return "-"
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number / 1e9:g} G" if number >= 1e9 else f"{number / 1e6:g} M"
