"""The networks whose graphs the onnx wheel carries have the layers that ours have, in the same order: kernel, stride,
padding, groups, channels; linear layers; response norms.

The graphs were converted from Caffe and Caffe2, where windows may hang over the border (ceil mode). ONNX had no word
for that then, so converters either padded below and to the right or cut off; of pooling, the padding above and to the
left is compared. Global pooling is written in too many ways to be compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import models
from minicnn import Tensor, no_grad
from minicnn.device import shapes_only
from minicnn.kernels import shapes
from minicnn.nn import init

onnx = pytest.importorskip("onnx", reason="the graphs are in the onnx package")
FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

SAME = {  # graph: our network, and kinds of layers of which only the place is compared, with the reason
    "bvlc_alexnet": ("alexnet_2012", {"LRN": "Caffe's has k = 1 and divides alpha by n; the paper's has k = 2"}),
    "vgg19": ("vgg19", {}),
    "inception_v1": ("googlenet_2014", {"LRN": "Caffe's divides alpha by n; the paper names no numbers"}),
    "inception_v2": ("bn_inception", {}),
    "resnet50": ("resnet50", {}),
    "densenet121": ("densenet121", {}),
    "squeezenet": ("squeezenet1_1", {}),
}
OTHER = {
    "zfnet512": "a wider variant with 512 channels in the last layers, without padding in the first two",
    "shufflenet": "not in the zoo",
}


def sides(attributes):
    return tuple(attributes.get("pads", (0, 0, 0, 0)))


def of_graph(name):
    """The layers of a graph, in its order."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(FOLDER / f"light_{name}.onnx")).graph
    known = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    layers: list[tuple] = []
    for node in graph.node:
        a = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type not in ("Conv", "MaxPool", "AveragePool", "Gemm", "LRN"):
            continue
        x, y = known[node.input[0]], known[node.output[0]]
        if node.op_type == "Conv" and x[2:] == [1, 1]:  # of what has been pooled to one pixel: a linear layer
            layers.append(("Linear", x[1], y[1]))
        elif node.op_type == "Conv":
            window = tuple(a["kernel_shape"]), tuple(a["strides"]), sides(a)
            layers.append(("Conv", *window, a.get("group", 1), x[1], y[1]))
        elif node.op_type == "Gemm":
            layers.append(("Linear", x[1], y[1]))
        elif node.op_type == "LRN":
            numbers = (round(float(a[key]), 9) for key in ("alpha", "beta", "bias"))
            layers.append(("LRN", a["size"], *numbers, x[1]))
        elif y[2:] != [1, 1]:
            layers.append((node.op_type, tuple(a["kernel_shape"]), tuple(a["strides"]), sides(a)[:2], x[1]))
    return layers


def of_network(name, monkeypatch):
    """The layers of our network, in the order in which the kernels are called."""
    layers: list[tuple] = []

    def watch(kernel, describe):
        original = getattr(shapes, kernel)

        def watched(*arguments):
            layers.append(describe(*arguments))
            return original(*arguments)

        monkeypatch.setattr(shapes, kernel, watched)

    def conv(x, w, b, window, groups):
        (top, bottom), (left, right) = window.pad
        return "Conv", window.kernel, window.stride, (top, left, bottom, right), groups, x.shape[1], len(w)

    def pool(kind):
        return lambda x, window, *_: (kind, window.kernel, window.stride, tuple(p[0] for p in window.pad), x.shape[1])

    def lrn(x, before, after, alpha, beta, k):
        size = before + 1 + after
        return "LRN", size, round(alpha * size, 9), round(beta, 9), round(k, 9), x.shape[1]

    watch("conv2d", conv)
    for kernel, kind in (("max_pool2d", "MaxPool"), ("relu_max_pool2d", "MaxPool"), ("avg_pool2d", "AveragePool")):
        watch(kernel, pool(kind))
    watch("linear", lambda x, w, *_: ("Linear", w.shape[1], len(w)))
    watch("local_response_norm", lrn)
    with init.skip():
        network = models.create_model(name).eval()
    with shapes_only(), no_grad():
        network(Tensor(np.zeros((2, *models.input_shape(name)), np.float32)))
    return layers


@pytest.mark.parametrize("graph", SAME)
def test_layers_are_those_of_the_graph(graph, monkeypatch):
    name, excluded = SAME[graph]
    ours, theirs = of_network(name, monkeypatch), of_graph(graph)
    compared = [[layer if layer[0] not in excluded else layer[:1] for layer in layers] for layers in (ours, theirs)]
    assert compared[0] == compared[1]
    assert len(compared[1]) >= 10
    assert {layer[0] for layer in (*ours, *theirs)} >= set(excluded)


def test_zfnet_has_the_kernels_and_strides_of_its_wider_variant(monkeypatch):
    def windows(layers):
        return [layer[1:3] for layer in layers if layer[0] == "Conv"]

    assert windows(of_network("zfnet", monkeypatch)) == windows(of_graph("zfnet512"))


def test_every_graph_of_the_wheel_is_compared_or_excluded_with_a_reason():
    found = {path.name.removeprefix("light_").removesuffix(".onnx") for path in FOLDER.glob("light_*.onnx")}
    assert found == SAME.keys() | OTHER.keys()
