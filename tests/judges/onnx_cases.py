"""ONNX's own tests, which the onnx wheel brings along: the cases, and what runs a model.

A node test is a model of one operator; where ONNX defines that operator by others, a second model has those ("expanded"
in its name). They are made when asked for, by formulas of ONNX's own. The other tests were recorded from PyTorch:
folders with a model, its inputs and its outputs.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from minicnn import Tensor, grad, use

from .onnx_operators import OPERATORS, operator_of
from .onnx_windows import host

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
UNDERSTOOD = OPERATORS.keys() | {"Gradient"}


@dataclass(frozen=True)
class Case:
    """A model, what goes in, and what must come out."""

    name: str
    subject: str  # the operator it tests
    model: Any
    inputs: Sequence[Any]
    outputs: Sequence[Any]

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}


@functools.cache
def cases(kind: str) -> list[Case]:
    """All of one of KINDS; the node tests take some seconds."""
    with warnings.catch_warnings(action="ignore"), without_what_judges_nothing():
        from onnx.backend.test.loader import load_model_tests

        tests = load_model_tests(kind=kind)
        if kind != "node":
            return [recorded(Path(test.model_dir)) for test in sorted(tests, key=lambda test: test.name)]
        found: list[Case] = []
        for test in tests:
            subject = found[-1].subject if "_expanded" in test.name else test.model.graph.node[0].op_type
            found.append(Case(test.name, subject, test.model, *(list(map(array, side)) for side in test.data_sets[0])))
        return found


@contextlib.contextmanager
def without_what_judges_nothing() -> Iterator[None]:
    """What takes two thirds of the time while ONNX makes its node tests: code is not cut out for its documentation, and
    where windows have three axes or give norms, for which there is no op here, outputs are left at zero."""
    from onnx.backend.test.case import base
    from onnx.reference.ops import op_pool_common

    right = op_pool_common.pool

    def pool(
        padded: Any, shape: Any, kernel: Any, strides: Any, out: Any, kind: str, *rest: Any, **options: Any
    ) -> Any:
        if len(shape) == 5 or kind == "LPPOOL":
            return np.zeros((*shape[:2], *out), padded.dtype)
        return right(padded, shape, kernel, strides, out, kind, *rest, **options)

    with (
        mock.patch.object(base, "process_snippet", lambda operator, name, export: (name, "")),
        mock.patch.object(op_pool_common, "pool", pool),
    ):
        yield


def recorded(folder: Path) -> Case:
    import onnx

    model = onnx.load(folder / "model.onnx")
    inputs, outputs = (
        [array(onnx.load_tensor(str(path))) for path in sorted(folder.glob(f"test_data_set_0/{side}_*.pb"))]
        for side in ("input", "output")
    )
    return Case(folder.name, model.graph.node[0].op_type, model, inputs, outputs)


def array(value: Any) -> Any:
    """The protocol's tensors and NumPy's scalars as arrays. Sequences and absent values stay what they are."""
    from onnx import TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def option(attribute: Any) -> Any:
    """The value of an attribute, in Python's and NumPy's types."""
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    if attribute.name in ("to", "dtype"):
        return helper.tensor_dtype_to_np_dtype(value)
    if isinstance(value, bytes):
        return value.decode()
    return Tensor(array(value)) if attribute.type == attribute.TENSOR else value


def run(model: Any, inputs: Sequence[np.ndarray], device: str) -> list[np.ndarray]:
    """What a model gives: its nodes one after the other, each an operator of ours."""
    graph = model.graph
    version = {entry.domain: entry.version for entry in model.opset_import}.get("", 1)
    differentiated = any(node.op_type == "Gradient" for node in graph.node)
    with use(device):
        values = {"": None} | {weight.name: Tensor(array(weight)) for weight in graph.initializer}
        names = [value.name for value in graph.input if value.name not in values]
        values |= {name: Tensor(value, differentiated) for name, value in zip(names, inputs, strict=True)}
        for node in graph.node:
            options = {attribute.name: option(attribute) for attribute in node.attribute}
            if node.op_type == "Gradient":
                y, xs = values[options["y"]], [values[x.decode()] for x in options["xs"]]
                results = grad(y, xs, np.ones(y.shape, y.dtype))
            else:
                operator = operator_of(node.op_type, version)
                if "outputs" in inspect.signature(operator).parameters:
                    options["outputs"] = len(node.output)
                results = operator(*[values[name] for name in node.input], **options)
            results = results if isinstance(results, tuple) else (results,)
            values.update(zip(node.output, results, strict=False))  # not every node asks for all of them
    return [host(values[value.name]) for value in graph.output]
