"""Several maps of one patient to one decision: a trunk for each map, or one for all, and attention between them.

Each map (native T1, ADC, T2*, ...) is one channel of the input, with its own scale; where a patient lacks one, the
whole channel is 0. Trunks see one-channel images or volumes, their last map is averaged over a few regions, and the
vectors of all maps and regions are tokens that attend to each other.

part                     3 maps, 2 classes, 3-D    parameters
trunks                   MobileNetV2 with SE        2,410,940   (x 3 with shared=False)
classifier               tokens, attention, MLP       641,922

Source: see models/token_fusion.py and models/mobilenet_v2_se.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

import excite.models.mobilenet_v2_se  # noqa: F401  registers the trunk that it has unless told otherwise
from excite.attention.plan import AttentionPlan
from excite.errors import DataError, UsageError
from excite.layers.options import check_choice, check_options
from excite.layers.regions import region_means
from excite.models.backbone import Backbone
from excite.models.encoder_weights import EncoderWeights, load_encoder
from excite.models.groups import Freezable
from excite.models.registry import BACKBONES, NETWORKS
from excite.models.token_fusion import ChannelFusion, LateFusion, Layout, Pooling, TokenFusion
from excite.registry import nearest
from excite.weights.intake import read_safetensors
from excite.weights.load import LoadReport, load_weights
from excite.weights.store import is_path

Form = Literal["tokens", "published", "average"]
PLAIN = {"mobilenet_v2_se": "mobilenet_v2"}  # whose published weights fit a trunk that has none of its own


class AttentionMaps(NamedTuple):
    """What each token takes of each."""

    weights: Tensor           # (N, heads, T, T); a row sums to 1, a missing token's column is 0
    tokens: tuple[str, ...]   # T names


@NETWORKS.register("modality_fusion")
class ModalityFusion(Freezable):
    """Trunks, regions, and attention between the maps of a patient.

    All that follows the trunks is the `classifier`, so that `classifier(forward_features(x))` is the network, and
    a frozen trunk leaves the fusion free.

    Args:
        in_channels: Maps of a patient, one channel each.
        num_classes: Length of the logits.
        trunk: Any backbone's name.
        trunk_options: Of the trunk, as create_model takes them: {"width": 0.5}.
        shared: One trunk for all maps; else one for each, with as many times the parameters.
        slices: The trunk is one of images and sees each slice of a volume; regions are means over slices too. So a
            network of photographs keeps its weights as they are.
        form: "tokens": a token for each map and region; "published": the maps' channels in a row, a token for each
            region, which knows of no missing map; "average": the mean of what each map says alone.
        regions: Along each axis of the trunk's last map; None: 2 in the plane, 1 along the depth.
        width: Of a token; with "published" of the MLP's hidden layer.
        heads: Of the attention.
        layers: Of attention and MLP; one with "published" and "average".
        pooling: "mean" of the tokens that are there, or a "class" token.
        dropout: Rate in the blocks and before the last layer.
        modality_dropout: Rate at which maps are dropped in training, never all of a patient: for patients that will
            lack some.
        clinical: Columns of a second argument of forward, one more token; a value that is NaN is missing.
        dims: 2 for images, 3 for volumes.
        attention: Another attention of the trunk than its own.

    Shape:
        (N, in_channels, *S) and, where there are some, (N, clinical) -> logits (N, num_classes).

    Raises:
        UsageError: an argument is wrong, or does not go with another. DataError: a batch of another shape.
    """

    name = "modality_fusion"
    usual_channels, usual_classes = 3, 2

    def __init__(self, in_channels: int = 3, *, num_classes: int = 2, trunk: str = "mobilenet_v2_se",
                 trunk_options: Mapping[str, Any] | None = None, shared: bool = True, slices: bool = False,
                 form: Form = "tokens", regions: Sequence[int] | None = None, width: int = 128, heads: int = 4,
                 layers: int = 1, pooling: Pooling = "mean", dropout: float = 0.2, modality_dropout: float = 0.0,
                 clinical: int = 0, dims: int = 3, attention: AttentionPlan | None = None) -> None:
        super().__init__()
        check_choice("form", form, Form)
        check_choice("pooling", pooling, Pooling)
        _check_counts(clinical=clinical, in_channels=in_channels, num_classes=num_classes, width=width, layers=layers)
        _check_rates(dropout=dropout, modality_dropout=modality_dropout)
        if slices and dims != 3:
            raise UsageError(f"slices go with volumes, dims=3, got dims={dims}")
        count = 1 if shared else in_channels
        self.trunks = nn.ModuleList(_trunk(trunk, trunk_options or {}, 2 if slices else dims, attention)
                                    for _ in range(count))
        first = self.backbones[0]
        self.in_channels, self.dims, self.slices = in_channels, dims, slices
        self.channels_last = first.channels_last and not slices
        self.encoder_weights = EncoderWeights(name=PLAIN.get(trunk, trunk))
        layout = Layout(in_channels, _regions(regions, dims), first.embedding_channels)
        self.regions = layout.regions
        given: dict[str, Any] = {"num_classes": num_classes, "width": width, "heads": heads, "dropout": dropout,
                                 "modality_dropout": modality_dropout}
        if form != "tokens":
            _refuse_with(form, layers=layers != 1, pooling=pooling != "mean", clinical=clinical > 0)
        if form == "published":
            self.classifier: TokenFusion | ChannelFusion | LateFusion = ChannelFusion(layout, **given)
        elif form == "average":
            self.classifier = LateFusion(layout, **{name: one for name, one in given.items() if name != "heads"})
        else:
            self.classifier = TokenFusion(layout, layers=layers, pooling=pooling, clinical=clinical, **given)

    @property
    def backbones(self) -> list[Backbone]:
        """The trunks, one for all maps or one for each."""
        return list(self.trunks)  # type: ignore[arg-type]

    def forward_features(self, x: Tensor) -> Tensor:
        """Return one vector a patient: of each map and region, then 1 or 0 for each map that is there or not."""
        self.refuse_other(x)
        return self.vectors(x, present_maps(x))

    def vectors(self, x: Tensor, present: Tensor) -> Tensor:
        """Return what `forward_features` does where `present` (N, in_channels) says which maps are there.

        What `x` holds of the others, NaN too, changes nothing.
        """
        x = x.masked_fill(~present.view(*present.shape, *[1] * self.dims), 0.0)
        if len(self.trunks) == 1:
            found = self._of_maps(self.backbones[0], x.flatten(0, 1).unsqueeze(1), present.flatten())
            found = torch.unflatten(found, 0, (-1, self.in_channels))
        else:
            found = torch.stack([self._of_maps(trunk, x[:, place:place + 1], present[:, place])
                                 for place, trunk in enumerate(self.backbones)], dim=1)
        return self.classifier.layout.joined(found, present)

    def forward(self, x: Tensor, clinical: Tensor | None = None) -> Tensor:
        """Return the logits."""
        y: Tensor = self.classifier(self.forward_features(x), clinical)
        return y

    def attention_maps(self, x: Tensor, clinical: Tensor | None = None, *, names: Sequence[str] | None = None,
                       layer: int = -1) -> AttentionMaps:
        """Return what each token takes of each in one layer, and the tokens' names, for a report.

        Args:
            names: Of the maps: ("T1", "ADC", "T2*"); "map 0" and so on unless told.
            layer: Which, the last one unless told.

        Raises:
            UsageError: there is not one name a map, or the form has no attention.
        """
        names = [f"map {place}" for place in range(self.in_channels)] if names is None else list(names)
        if len(names) != self.in_channels:
            raise UsageError(f"names must be one a map ({self.in_channels}), got {len(names)}")
        if isinstance(self.classifier, LateFusion):
            raise UsageError("form='average' has no attention")
        weights = self.classifier.weights(self.forward_features(x), clinical, layer=layer)
        return AttentionMaps(weights, self.classifier.named(names))

    def load(self, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
        """Load weights of a network like this where `source` has them, else a classifier's features into each trunk.

        Features of images are inflated for volumes, and their first convolution is summed for maps of one channel.

        Raises:
            ModelError: they do not fit. EnvironmentFault: they are not at hand.
        """
        if any(key.startswith("trunks.") for key in _keys(source)):
            return load_weights(self, source, layout="excite", part="all")
        reports = [load_encoder(trunk, source, self.encoder_weights) for trunk in self.backbones]
        loaded = tuple(f"trunks.{place}.{key.removeprefix('backbone.')}" for place, one in enumerate(reports)
                       for key in one.loaded)
        return replace(reports[0], loaded=loaded, notes=(*reports[0].notes, "the fusion stays fresh"))

    def refuse_other(self, x: Tensor) -> None:
        """Raise a DataError where `x` has not as many axes and maps as the network was built for."""
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            sizes = "D, H, W" if self.dims == 3 else "H, W"
            raise DataError(f"the network takes (N, {self.in_channels}, {sizes}), one channel a map, got "
                            f"{tuple(x.shape)}", fix="give zeros for a map that is missing")

    def _of_maps(self, trunk: Backbone, maps: Tensor, present: Tensor) -> Tensor:
        """Return the vectors of one-channel maps (B, 1, *S) as (B, places, channels), zeros for those missing.

        In training, missing maps stay out of the trunk: its norms would measure their zeros.
        """
        layout = self.classifier.layout
        some = self.training and not bool(present.all())
        if some and not bool(present.any()):
            return maps.new_zeros(len(maps), layout.places, layout.channels)
        found = self._of_some(trunk, maps[present]) if some else self._through(trunk, maps)
        means = region_means(found, self.regions).flatten(2).transpose(1, 2)
        made = torch.unflatten(trunk.embedding(means.flatten(0, 1)), 0, (-1, layout.places))
        if not some:
            return made.masked_fill(~present[:, None, None], 0.0)
        whole = made.new_zeros(len(maps), *made.shape[1:])
        whole[present] = made
        return whole


    def _of_some(self, trunk: Backbone, maps: Tensor) -> Tensor:
        """Return what `_through` does of the maps that are there; where a lone one stops a norm, the error says why."""
        try:
            return self._through(trunk, maps)
        except DataError as fault:
            if len(maps) > 1 or len(self.trunks) == 1:
                raise
            place = next(place for place, one in enumerate(self.trunks) if one is trunk)
            raise DataError(
                f"one patient of a training batch has map {place}, and its trunk, which sees no other map, has nothing "
                "to normalise it with", why=fault.what,
                fix="one trunk for all maps (shared=True), larger batches, or maps of more voxels") from None

    def _through(self, trunk: Backbone, maps: Tensor) -> Tensor:
        """Return the trunk's last map of each, (B, 1, *S) -> (B, C, *T); with `slices` slice by slice, T[0] = S[0]."""
        if not self.slices:
            y: Tensor = trunk(maps)
            return y
        found: Tensor = trunk(maps.transpose(1, 2).flatten(0, 1))
        return torch.unflatten(found, 0, (-1, maps.shape[2])).transpose(1, 2)


def present_maps(x: Tensor) -> Tensor:
    """Return which maps are there, (N, M): those with a value other than 0."""
    return (x != 0).flatten(2).any(dim=2)


def _trunk(name: str, options: Mapping[str, Any], dims: int, attention: AttentionPlan | None) -> Backbone:
    """Return the trunk of one-channel maps."""
    if name not in BACKBONES:
        raise UsageError(f"unknown trunk {name!r}", fix=f"{nearest(str(name), list(BACKBONES))}known: "
                         + ", ".join(BACKBONES))
    build = BACKBONES[name]
    check_options(f"trunk {name!r}", build, options, fixed=("in_channels", "dims", "attention"))
    return build(1, dims=dims, attention=attention, **options)


def _regions(regions: Sequence[int] | None, dims: int) -> tuple[int, ...]:
    found = (1, 2, 2)[3 - dims:] if regions is None else tuple(regions)
    if len(found) != dims or any(type(one) is not int or one < 1 for one in found):
        raise UsageError(f"regions must be {dims} whole numbers of at least 1, got {regions!r}",
                         fix="(1, 2, 2)" if dims == 3 else "(2, 2)")
    return found


def _keys(source: str | Path | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the tensors of a state dict or a file; none of a tag, which names a trunk's."""
    if isinstance(source, Mapping):
        return source
    file = Path(source).expanduser()
    return read_safetensors(file) if is_path(source) and file.is_file() else {}


def _check_counts(*, clinical: int, **counts: int) -> None:
    for name, value, least in (("clinical", clinical, 0), *((name, value, 1) for name, value in counts.items())):
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _check_rates(**rates: float) -> None:
    for name, value in rates.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UsageError(f"{name} must be at least 0 and below 1, got {value!r}")


def _refuse_with(form: Form, **given: bool) -> None:
    for name in (name for name, one in given.items() if one):
        raise UsageError(f"{name} and form={form!r} cannot be given together", fix="form='tokens'")
