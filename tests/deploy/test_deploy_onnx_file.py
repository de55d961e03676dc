"""Values outside the file are found wherever they are, and garbage is told from a model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bundles import linear_onnx, weights
from excite.deploy.onnx_file import refuse_external_data
from excite.deploy.runtime import open_session
from excite.errors import ModelError

WHERE = Path("model.onnx")


def external(tensor: onnx.TensorProto, location: str = "../../etc/passwd") -> onnx.TensorProto:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def in_initializer(model: onnx.ModelProto) -> None:
    external(model.graph.initializer[0])


def only_the_mark(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def in_constant(model: onnx.ModelProto) -> None:
    tensor = external(numpy_helper.from_array(np.ones(4, np.float32)))
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_subgraph(model: onnx.ModelProto) -> None:
    tensor = external(numpy_helper.from_array(np.ones(4, np.float32), "t"))
    inner = helper.make_graph([], "inner", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def in_function(model: onnx.ModelProto) -> None:
    tensor = external(numpy_helper.from_array(np.ones(4, np.float32)))
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("own", "f", [], ["c"], [node], [helper.make_opsetid("", 20)]))


def in_sparse(model: onnx.ModelProto) -> None:
    values = external(numpy_helper.from_array(np.ones(1, np.float32), "v"))
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


@pytest.mark.parametrize("plant", [in_initializer, only_the_mark, in_constant, in_subgraph, in_function, in_sparse])
def test_external_data_is_refused_wherever_it_is(plant: Callable[[onnx.ModelProto], None]) -> None:
    model = linear_onnx(weights())
    refuse_external_data(model.SerializeToString(), where=WHERE)
    plant(model)
    with pytest.raises(ModelError, match="model.onnx: the ONNX model keeps values in other files.*in one piece"):
        refuse_external_data(model.SerializeToString(), where=WHERE)


def test_external_data_written_by_onnx_itself_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(linear_onnx(weights()), file, save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="keeps values in other files"):
        open_session(file, threads=1)


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"\x80\x02csystem\n.", b"\xff" * 64, b"PK\x03\x04" * 9])
def test_garbage_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: this is no ONNX model"):
        open_session(file, threads=1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_model_is_a_clear_error(tmp_path: Path, share: float) -> None:
    content = linear_onnx(weights()).SerializeToString()
    file = tmp_path / "model.onnx"
    file.write_bytes(content[:int(len(content) * share)])
    with pytest.raises(ModelError, match=r"model\.onnx: this is no ONNX model"):
        open_session(file, threads=1)


def test_any_flipped_byte_is_an_error_of_ours_or_harmless(tmp_path: Path) -> None:
    content = linear_onnx(weights(size=2), size=2).SerializeToString()
    refused = 0
    for place in range(len(content)):
        bad = bytearray(content)
        bad[place] ^= 0x55
        try:
            refuse_external_data(bytes(bad), where=WHERE)
        except ModelError:  # any other kind fails the test
            refused += 1
    assert 0 < refused < len(content)


def test_nesting_without_end_is_refused() -> None:
    graph = b""
    for _ in range(40):  # a graph in an attribute of a node of a graph ...
        for tag in (0x32, 0x2A, 0x0A):
            graph = bytes([tag]) + _length(graph) + graph
    with pytest.raises(ModelError, match="no ONNX model"):
        refuse_external_data(b"\x3a" + _length(graph) + graph, where=WHERE)


def _length(content: bytes) -> bytes:
    count, out = len(content), b""
    while count >= 0x80:
        out += bytes([count & 0x7F | 0x80])
        count >>= 7
    return out + bytes([count])
