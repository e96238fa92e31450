"""The graphs of classic networks that the onnx package ships: their layers, one by one, are those of ours.

They were made by others, from the original Caffe models mostly. Left out are two whose papers differ: ShuffleNet, and a
wider ZFNet ("zfnet512"). The ResNet-50 is the one with the stride in the 3 × 3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import models
from minicnn import Tensor, nn
from minicnn.device import shapes_only

onnx = pytest.importorskip("onnx", reason="the graphs come with the onnx package")

GRAPHS = {
    "bvlc_alexnet": "alexnet_2012",
    "densenet121": "densenet121",
    "inception_v1": "googlenet_2014",
    "inception_v2": "bn_inception",
    "resnet50": "resnet50",
    "squeezenet": "squeezenet1_1",
    "vgg19": "vgg19",
}


def theirs(graph_name):
    """(kind, what is particular to it) of each layer, in the order of the graph.

    Of poolings the padding at the end is not compared: it depends on the size of the image where the last window may
    stand over the edge. Pooling of the whole map is written in too many ways to be.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    graph = onnx.load(folder / f"light_{graph_name}.onnx").graph
    numbers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = {node.output[0]: tuple(map(int, numbers[node.input[0]])) for node in graph.node
              if node.op_type == "ConstantOfShape"}  # fmt: skip
    found = []
    for node in graph.node:
        given = {a.name: tuple(a.ints) if a.ints else a.i for a in node.attribute}
        pads, strides = given.get("pads", (0, 0, 0, 0)), given.get("strides", (1, 1))
        if node.op_type == "Conv":
            found.append(("conv", shapes[node.input[1]], strides, pads, given.get("group", 1)))
        elif node.op_type in ("MaxPool", "AveragePool") and given["kernel_shape"] != (7, 7):
            found.append((node.op_type, given["kernel_shape"], strides, pads[:2]))
        elif node.op_type in ("Gemm", "LRN"):
            found.append((node.op_type,))
    return found


def ours(name):
    """The same of our network, in the order in which its layers run."""
    with nn.init.skip():
        model = models.create_model(name).eval()
    found = []

    def note(module, inputs, output):
        if isinstance(module, nn.Conv2d):
            pads = pair(module.padding) * 2
            found.append(("conv", module.weight.shape, module.stride, pads, module.groups))
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            kind = "MaxPool" if isinstance(module, nn.MaxPool2d) else "AveragePool"
            found.append((kind, *map(pair, (module.kernel_size, module.stride, module.padding))))
        elif isinstance(module, nn.Linear | nn.LocalResponseNorm):
            found.append(("Gemm" if isinstance(module, nn.Linear) else "LRN",))

    for module in model.modules():
        module.register_forward_hook(note)
    with shapes_only():
        model(Tensor(np.zeros((1, *models.input_shape(name)), np.float32)))
    return found


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


@pytest.mark.parametrize(("graph", "name"), GRAPHS.items(), ids=GRAPHS)
def test_layers_are_those_of_the_graph(graph, name):
    expected = theirs(graph)
    if graph == "densenet121":  # whose linear layer is written as a convolution of the mean
        assert expected.pop() == ("conv", (1000, 1024, 1, 1), (1, 1), (0, 0, 0, 0), 1)
        expected.append(("Gemm",))
    assert ours(name) == expected


def test_a_stride_in_another_place_is_another_graph():
    assert ours("resnet50_2015") != theirs("resnet50") != []
