"""From a trained network to ONNX in one file, without a word about the machine that made it."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto
from torch import Tensor, nn

from excite.errors import ModelError

OPSET = 20
LONG = 3  # axes from which a mean is one over a volume


class Shipped(nn.Module):
    """What leaves the house: logits and features of one forward pass.

    A network with `forward_features` and `classifier` (as excite's have) gives both; of any other the features are
    the logits.

    Shape:
        (N, C, S, S) and, where the network takes some, clinical values (N, F) -> (N, K), (N, F)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.both = hasattr(model, "forward_features") and isinstance(getattr(model, "classifier", None), nn.Module)

    def forward(self, images: Tensor, clinical: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits and features."""
        beside = () if clinical is None else (clinical,)
        if not self.both:
            logits: Tensor = self.model(images, *beside)
            return logits, logits * 1.0  # an output of its own: one value cannot have two names
        features = self.model.forward_features(images)  # type: ignore[operator]
        return self.model.classifier(features, *beside), features  # type: ignore[operator]


class ShippedMaps(nn.Module):
    """What leaves the house of a network for masks: its logits, one map a class, whatever its forward gives.

    Shape:
        (N, C, H, W) -> (N, K, H, W)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return logits_of(self.model, images)


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return a network's logits: its forward, but its `logits` where it was told to give probabilities."""
    found: Tensor = model.logits(images) if getattr(model, "gives", "logits") != "logits" else model(images)  # type: ignore[operator]
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and each back in its own afterwards: a frozen BatchNorm stays frozen."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def export(model: nn.Module, file: Path, *, size: int | tuple[int, ...], channels: int, maps: bool = False,
           least: int = 1, clinical: int = 0) -> Path:
    """Write `model` as ONNX: input "images" (batch, channels, *S), outputs "logits" and "features".

    One file, any batch, BatchNorm folded into the convolutions, operator set OPSET; names of files, folders and
    modules are taken out. Checked with onnx.checker.

    Args:
        size: Of the input: a side, height and width, or those of a volume.
        maps: A network for masks: one output "logits" (batch, classes, *S); height and width of images any, unless
            the network itself takes only some sizes: then this one. Volumes are of this size.
        least: Of the height and width that a network for masks takes.
        clinical: Columns of a second input "clinical" (batch, clinical), NaN where a value is missing.

    Raises:
        ModelError: the network cannot be exported; the operator or line that stopped it is named.
    """
    examples = [torch.rand(2, channels, *((size, size) if isinstance(size, int) else size))]
    if clinical:
        examples.append(torch.rand(2, clinical).masked_fill(torch.eye(2, clinical, dtype=torch.bool), torch.nan))
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    examples = [one.to(device) for one in examples]
    batch: dict[int, object] = {0: torch.export.Dim("batch", min=1, max=65536)}
    with evaluating(model), _quiet():
        wrapped = (ShippedMaps(model) if maps else Shipped(model)).eval().to(device)
        try:
            graph = _traced(wrapped, examples, maps, batch | {2: torch.export.Dim("height", min=least),
                                                                        3: torch.export.Dim("width", min=least)}
                            if maps and examples[0].ndim == 4 else batch)
        except Exception as fault:  # the exporter's own kinds share no base class
            if not maps:
                raise _refused(fault) from fault
            try:
                graph = _traced(wrapped, examples, maps, batch)
            except Exception as other:
                raise _refused(other) from other
    _sum_axis_by_axis(graph.graph)
    _strip(graph)
    onnx.checker.check_model(graph, full_check=True)
    file.write_bytes(graph.SerializeToString())
    return file


def _traced(model: nn.Module, examples: Sequence[Tensor], maps: bool, shapes: dict[int, object]) -> ModelProto:
    names = ["images", "clinical"][:len(examples)]
    program = torch.onnx.export(
        model, tuple(examples), dynamo=True, opset_version=OPSET, input_names=names, verbose=False,
        output_names=["logits"] if maps else ["logits", "features"], external_data=False,
        dynamic_shapes={name: shapes if name == "images" else {0: shapes[0]} for name in names})
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    return program.model_proto


def _refused(fault: Exception) -> ModelError:
    return ModelError("the network cannot be exported to ONNX", why=" ".join(str(fault).split())[:300],
                      fix="use operations that torch.export can trace: no branches on values")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about packages that it does not need from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _sum_axis_by_axis(graph: GraphProto) -> None:
    """Put means over one axis after the other in the place of those over a whole volume, the last axis first.

    ONNX Runtime adds up all that a mean is over in one float32 sum: of 27,648 voxels it was off by 2e-5, which narrow
    channels of a trained network made 1e-3 of its output. The means of means are exact to the last digit or two.
    """
    constants = {one.name: one for one in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        axes = sorted(onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()) \
            if node.op_type == "ReduceMean" and len(node.input) > 1 and node.input[1] in constants else []
        if len(axes) < LONG or axes[0] < 0:
            nodes.append(node)
            continue
        kept = [one for one in node.attribute if one.name != "axes"]
        given = node.input[0]
        for axis in reversed(axes):
            made = node.output[0] if axis == axes[0] else f"{node.output[0]}_over_{axis}"
            name = f"{node.output[0]}_over_{axis}_index"
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([axis], np.int64), name))
            one = onnx.helper.make_node("ReduceMean", [given, name], [made])
            one.attribute.extend(kept)
            nodes.append(one)
            given = made
    if len(nodes) == len(graph.node):
        return
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in _nodes(graph) for name in node.input} | {one.name for one in graph.output}
    needed = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(needed)


def _strip(model: ModelProto) -> None:
    """Take out what the exporter adds about the source: stack traces hold paths of this machine."""
    model.producer_name, model.producer_version, model.doc_string, model.domain = "excite", "", "", ""
    graph = model.graph
    graph.name = "network"
    del graph.value_info[:]
    nodes = [*_nodes(graph), *(node for function in model.functions for node in function.node)]
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"
    for part in (model, graph, *model.functions, *nodes, *graph.input, *graph.output, *graph.initializer):
        if hasattr(part, "doc_string"):
            part.doc_string = ""
        del part.metadata_props[:]


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
