"""ONNX graphs that are written without the onnx package."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.models.lm.step1.onnx_graphs import GraphWriter, on_one_core


def written() -> bytes:
    graph = GraphWriter()
    graph.takes("x", 2)
    graph.takes("shape", 1, np.int64)
    graph.constant("weight", np.arange(6, dtype=np.float32).reshape(2, 3).T)
    made = graph.do("MatMul", ["x", "weight"], "made")
    soft = graph.do("LeakyRelu", [made], "soft", alpha=0.25)
    turned = graph.do("Transpose", [soft], "turned", perm=[1, 0])
    graph.do("Reshape", [turned, "shape"], "y")
    graph.do("Softmax", ["y"], "z", axis=-1)
    for name in ("y", "z"):
        graph.gives(name, 1)
    return graph.to_bytes()


def test_a_graph_does_what_was_written() -> None:
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    y, z = on_one_core(written()).run(None, {"x": x, "shape": np.array([-1])})
    made = x[0] @ np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_allclose(y, np.where(made < 0, 0.25 * made, made))
    np.testing.assert_allclose(z, np.exp(y - y.max()) / np.exp(y - y.max()).sum(), rtol=1e-6)


def test_the_onnx_package_reads_the_same() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(written())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        "MatMul", "LeakyRelu", "Transpose", "Reshape", "Softmax",
    ]  # fmt: skip
    known = [
        {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        for node in model.graph.node
    ]
    assert known == [{}, {"alpha": 0.25}, {"perm": [1, 0]}, {}, {"axis": -1}]
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_array_equal(weight, np.arange(6, dtype=np.float32).reshape(2, 3).T)


def test_other_kinds_of_numbers_are_refused() -> None:
    with pytest.raises(KeyError):
        GraphWriter().constant("half", np.zeros(2, np.float16))
