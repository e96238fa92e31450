"""Optimizer steps: steps.cu, one launch for all parameters of a group that have one dtype."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import device as devices
from . import recording
from .launch import contiguous, empty, kernel, library
from .reduce import wide

CHUNK = 4096  # numbers of a block, as in steps.cu
MOST_TABLES = 64  # groups of parameters whose tables stay on the device


def sgd_step(
    params: Sequence[Any], grads: Sequence[Any], velocities: Sequence[Any], fresh: Sequence[bool], lr: float,
    momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """One step of SGD on all params and velocities, in place."""
    for which in _by_dtype(params):
        with _InPlace(_pick(params, which), _pick(velocities, which)) as arrays:
            columns = [arrays[0], _pick(grads, which), *arrays[1:]]
            table = _table(columns, _pick(fresh, which))
            numbers = _numbers([lr, momentum, 1 - dampening, weight_decay], params[which[0]])
            _launch("sgd_step", columns[0], table, numbers, nesterov)


def adam_step(
    params: Sequence[Any], grads: Sequence[Any], means: Sequence[Any], squares: Sequence[Any], lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, decoupled: bool, steps: Sequence[int],
) -> None:  # fmt: skip
    """One step of Adam on all params, means and squares, in place."""
    for which in _by_dtype(params):
        with _InPlace(*(_pick(arrays, which) for arrays in (params, means, squares))) as arrays:
            columns = [arrays[0], _pick(grads, which), *arrays[1:]]
            table = _table(columns, [])
            common = [lr, beta1, 1 - beta1, beta2, 1 - beta2, eps, weight_decay]
            bias = itertools.chain.from_iterable((1 - beta1**t, 1 - beta2**t) for t in _pick(steps, which))
            _launch("adam_step", arrays[0], table, _numbers([*common, *bias], params[which[0]]), decoupled)


def rmsprop_step(
    params: Sequence[Any], grads: Sequence[Any], squares: Sequence[Any], velocities: Sequence[Any], lr: float,
    alpha: float, eps: float, momentum: float, weight_decay: float, tensorflow: bool,
) -> None:  # fmt: skip
    """One step of RMSprop on all params, squares and velocities, in place."""
    for which in _by_dtype(params):
        with _InPlace(*(_pick(arrays, which) for arrays in (params, squares, velocities))) as arrays:
            columns = [arrays[0], _pick(grads, which), *arrays[1:]]
            table = _table(columns, [])
            numbers = _numbers([lr, alpha, 1 - alpha, eps, momentum, weight_decay], params[which[0]])
            _launch("rmsprop_step", arrays[0], table, numbers, tensorflow)


def unscale(arrays: Sequence[Any], factor: float) -> Any:
    """Each array times a number, in place; and whether all results are finite, bool ()."""
    finite, done = empty((max(_blocks(arrays), 1),), np.bool_), 0
    for which in _by_dtype(arrays):
        with _InPlace(_pick(arrays, which)) as (own,):
            blocks = _blocks(own)
            _launch("unscale", own, _table([own, own], []), _numbers([factor], own[0]), finite[done : done + blocks])
            done += blocks
    result = empty((), np.bool_)
    if not recording.is_renewing():
        kernel("steps.cu", "all_of", np.float32)((1,), (result, finite, done))
    return result


def _launch(name: str, params: Sequence[Any], table: Any, numbers: Any, *options: Any) -> None:
    if not recording.is_renewing():
        kernel("steps.cu", name, params[0].dtype)((_blocks(params),), (table, numbers, *options, len(params)))


def _blocks(params: Sequence[Any]) -> int:
    return sum(-(-p.size // CHUNK) for p in params)


def _by_dtype(params: Sequence[Any]) -> list[list[int]]:
    """The positions of the parameters of each dtype; none of those that have no elements."""
    groups: dict[Any, list[int]] = {}
    for position, p in enumerate(params):
        if p.size:
            groups.setdefault(p.dtype, []).append(position)
    return list(groups.values())


def _pick(values: Sequence[Any], which: Sequence[int]) -> list[Any]:
    return [values[position] for position in which] if len(values) else []


class _InPlace:
    """Lists of arrays as contiguous ones, whose changes come back at the end if they had to be copied."""

    def __init__(self, *lists: list[Any]):
        self.lists = [arrays for arrays in lists if arrays]

    def __enter__(self) -> list[list[Any]]:
        self.own = [[contiguous(a) for a in arrays] for arrays in self.lists]
        return self.own

    def __exit__(self, *exc: object) -> None:
        for given, own in zip(self.lists, self.own, strict=True):
            for a, copy in zip(given, own, strict=True):
                if copy is not a:
                    a[...] = copy


def _table(columns: list[list[Any]], fresh: list[bool]) -> Any:
    """Rows (p, g, first, second, size, first block, fresh) of steps.cu, on the device.

    Gradients that have to be copied take the place of those given, so that the caller keeps them alive.
    """
    columns[1] = [contiguous(g) for g in columns[1]]
    count = len(columns[0])
    rows = np.zeros((count, 7), np.int64)
    for column, arrays in enumerate(columns):
        rows[:, column] = [a.data.ptr for a in arrays]
    sizes = np.array([p.size for p in columns[0]])
    blocks = -(-sizes // CHUNK)
    rows[:, 4], rows[:, 5] = sizes, np.cumsum(blocks) - blocks
    rows[:, 6] = fresh or [False] * count
    return _on_device(rows)


def _numbers(numbers: list[float], like: Any) -> Any:
    return _on_device(np.array(numbers, wide(like.dtype)))


_tables: dict[tuple[str, bytes], Any] = {}  # device and contents -> the array there


def _on_device(contents: np.ndarray) -> Any:
    """The contents as an array of the device. From step to step most of them are the same and lie there already."""
    graph = recording.current()
    if graph is not None:
        return graph.table(contents)
    key = devices.state.computing or devices.current(), contents.dtype.char.encode() + contents.tobytes()
    if key not in _tables:
        if len(_tables) >= MOST_TABLES:
            _tables.clear()
        _tables[key] = library().asarray(contents)
    return _tables[key]
