"""Joining, cutting and padding of images in blocks of channels: each pixel of the result is woven from few others.

    concat of 20 and 12 channels                        x[:, 8:28] of 32 channels

    part 0  [ a0 ........ a15 ][ a16..a19 0 ..... 0 ]   x       [ c0 .. c7 c8 .. c15 ][ c16 .. c27 .. c31 ]
    part 1        │               │     ╲ [ b0 ... b11 0 . 0 ]              ╲________ ╱        │
                  │ copied        │      ╲ │                                          │ woven  │ woven
    result  [ a0 ........ a15 ][ a16..a19 b0 ... b11 ]  result  [ c8 ............. c23 ][ c24..c27 0 ... 0 ]

For each block of the result a pattern says which block each of its lanes is from, and which lane that was there. Each
pattern is a micro-kernel, a few shuffles; blocks that are aligned, nearly all there are, share the one that copies.
What is left of a call is a table of boxes of pixels: how many rows and columns, from where to where, in which steps.
A border is read in steps of 0, from one pixel of `value`; x[:, :, ::2, ::2] has steps of 2, and its adjoint writes in
steps of 2, with zeros between. Tables are kept for the shapes that made them; a call adds where its arrays begin.
A slice of whole blocks, half of them or more, is no copy: its images lie apart (Blocked.images). Nor is what grows,
block by block, by one concat after the other (Room).

Many patterns (many parts that begin inside of a block) and what is not made of slices are left to plain arrays.

    operations   none
    bytes        each number read and written once, 8
    predicted    the speed of a copy, some 20 GB/s: 1.2 ms for 224 and 32 channels of 4 images of 56 × 56, 1 thread
    measured     1.1 (PyTorch 1.0); of 480 and 32 @28 0.58 (0.51), 992 and 32 @14 0.32 (0.26); 40 and 12
                 of 64 images of 32 × 32, which are woven, 1.4 (1.2)
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from .. import reference
from .arguments import address_of
from .blocked import BLOCK, Blocked, blocked, plain
from .blocked_elementwise import move
from .code import Code
from .memory import empty
from .microkernels import address
from .passes import run

PIXEL = 4 * BLOCK  # bytes
BORDER = -1  # instead of a part: the pixel of `value`
NOTHING = -1  # instead of a lane: 0, past the last channel
MOST_PATTERNS = 4  # in one call, since each is compiled
HEADER = 6  # words of a box before its sources
WORDS = 3  # of a source

Shape = tuple[int, ...]
Places = tuple[int, int, int]  # first, step, count: of an axis first + i·step for i < count
Lanes = tuple[int, ...]  # for each lane of a block 16·source + lane


# --- the kernels ------------------------------------------------------------------------------------------------------


def concat(arrays: Sequence[Any], axis: int) -> Any:
    """The arrays one after the other along axis."""
    parts = tuple(tuple(a.shape) for a in arrays)
    shape = (parts[0][0], sum(part[1] for part in parts), *parts[0][2:])
    plan = None
    if axis == 1 and all(a.dtype == arrays[0].dtype and a.dtype.itemsize == 4 for a in arrays):
        if (
            type(arrays[0]) is Blocked
            and arrays[0].room is not None
            and not any(c % BLOCK for _, c, _, _ in parts[:-1])
        ):
            return _grown(arrays, shape)
        plan = _plan(shape, _all(shape), _all(shape), parts)
    if plan is None:
        return reference.concat([plain(a) for a in arrays], axis)
    joined = _weave(plan, shape, [blocked(a) for a in arrays])
    joined.room = Room(joined.blocks(), joined.blocks().shape[1])
    return joined


class Room:
    """Memory behind the last block of what concat has made, which the next concat may fill: (N, blocks, H, W, 16)."""

    def __init__(self, memory: np.ndarray, filled: int):
        self.memory, self.filled, self.lock = memory, filled, threading.Lock()

    def take(self, images: np.ndarray, blocks: int) -> bool:
        """Whether there is room for so many blocks right behind these images, which then belong to the caller."""
        with self.lock:
            newest = address_of(images) == address_of(self.memory) and images.shape[1] == self.filled
            if not newest or self.memory.shape[1] < self.filled + blocks:
                return False
            self.filled += blocks
            return True


def _grown(arrays: Sequence[Any], shape: Shape) -> Blocked:
    """The first array is a result of concat, and grows: the others are put behind it, and what it has stays there.

    A block of DenseNet joins all that it has computed to each new result. Copied each time, that would be half of its
    depth times as much memory, and traffic. Nobody writes into blocks, so old and new results may share what they
    have in common. Only the newest may grow; of any other a copy is made, with room for as much again.
    """
    room, before, after = arrays[0].room, arrays[0].images(), -(-shape[1] // BLOCK)
    have = before.shape[1]
    if not room.take(before, after - have):
        room = Room(empty((shape[0], 2 * after, *shape[2:], BLOCK), before.dtype), after)
        move(before, room.memory[:, :have])
    for part in arrays[1:]:
        images = blocked(part).images()
        move(images, room.memory[:, have : have + images.shape[1]])
        have += images.shape[1]
    return Blocked(shape, room.memory[:, :after], room)


def getitem(x: Any, index: Any) -> Any:
    """x[index]. Unlike NumPy's, slices do not notice when x is written to."""
    read = _slices(index, x.shape)
    if read is not None:
        shape = tuple(count for _, _, count in read)
        if _is_whole(x.shape, read):
            first = read[1][0] // BLOCK
            images = x.images()[:, first : first - (-shape[1] // BLOCK)]
            return Blocked(shape, images if 2 * shape[1] >= x.shape[1] else contiguous(images))
        plan = _plan(shape, read, _all(shape), (x.shape,))
        if plan is not None:
            return _weave(plan, shape, [x])
    return reference.getitem(plain(x), index)


def _is_whole(shape: Shape, read: tuple[Places, ...]) -> bool:
    """Whether that is whole blocks of all pixels. They are not copied if they are half of all or more; less would keep
    all alive."""
    first, step, count = read[1]
    whole = count and step == 1 and first % BLOCK == 0 and (count % BLOCK == 0 or first + count == shape[1])
    return bool(whole) and (read[0], *read[2:]) == _all((shape[0], *shape[2:]))


def add_at(v: Any, index: Any, shape: Shape) -> Any:
    """Zeros of `shape`, with v added at index."""
    written = _slices(index, shape)
    plan = None if written is None else _plan(tuple(shape), _all(v.shape), written, (v.shape,))
    return reference.add_at(plain(v), index, shape) if plan is None else _weave(plan, tuple(shape), [v])


def pad(x: Any, widths: Any, value: float) -> Any:
    """x with widths[i] = (before, after) elements of `value` around axis i."""
    shape = tuple(size + before + after for size, (before, after) in zip(x.shape, widths, strict=True))
    written = tuple((before, 1, size) for size, (before, _) in zip(x.shape, widths, strict=True))
    plan = _plan(shape, _all(x.shape), written, (x.shape,))
    return reference.pad(plain(x), widths, value) if plan is None else _weave(plan, shape, [x], value)


def _all(shape: Shape) -> tuple[Places, ...]:
    return tuple((0, 1, size) for size in shape)


def _slices(index: Any, shape: Shape) -> tuple[Places, ...] | None:
    """What an index made of slices selects along each axis; None for every other index."""
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [i for i, part in enumerate(parts) if part is ...]
    if len(dots) == 1:
        parts[dots[0] : dots[0] + 1] = [slice(None)] * (len(shape) + 1 - len(parts))
    if len(parts) > len(shape) or not all(isinstance(part, slice) for part in parts):
        return None
    parts += [slice(None)] * (len(shape) - len(parts))
    ranges = [range(size)[part] for size, part in zip(shape, parts, strict=True)]
    return tuple((r.start, r.step, len(r)) for r in ranges)


# --- plans ------------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """Boxes of pixels, with offsets in bytes instead of addresses.

    boxes (boxes, HEADER + sources · WORDS): the number of a pattern; target, bytes to its next row and its next pixel;
    rows, pixels. Then for each source where it begins, bytes to its next row and its next pixel.
    owners (boxes, sources): the part that each source belongs to; BORDER for the pixel of the border.
    numbers (boxes, sources): and which image of that it is; the source begins that many images further.
    """

    boxes: np.ndarray
    owners: np.ndarray
    numbers: np.ndarray
    patterns: tuple[Lanes, ...]


class Run(NamedTuple):
    """Places along an axis of the result, and where each comes from; from nowhere if source is None."""

    target: int
    target_step: int
    length: int
    source: int | None = None
    source_step: int = 0


@functools.lru_cache(maxsize=256)
def _plan(shape: Shape, read: tuple[Places, ...], written: tuple[Places, ...], parts: tuple[Shape, ...]) -> Plan | None:
    """How to weave a result of `shape`: read[i] goes to written[i], and what is not written is border.

    Several parts stand one after the other along the channels. None: that is not worth it.
    """
    if 0 in shape or any(0 in part for part in parts):
        return None
    joined = [(part, c) for part, of in enumerate(parts) for c in range(of[1])]
    origins = _origins(shape[1], read[1], written[1])
    channels = [(BORDER, 0) if c is None else joined[c] for c in origins]
    bordered = written != _all(shape)
    blocks = [_pattern(channels[c : c + BLOCK], parts, bordered) for c in range(0, len(channels), BLOCK)]
    patterns = tuple(dict.fromkeys(lanes for lanes, _ in blocks))
    if len(patterns) > MOST_PATTERNS:
        return None
    most = max(len(sources) for _, sources in blocks)
    areas = _areas(shape, read, written, parts)
    boxes: list[list[int]] = []
    owners: list[list[int]] = []
    numbers: list[list[int]] = []
    for n, image in enumerate(_origins(shape[0], read[0], written[0])):
        for b, (lanes, sources) in enumerate(blocks):
            for rows, columns in areas:
                place = _place(shape, n, b, rows.target, columns.target)
                steps = rows.target_step * shape[3] * PIXEL, columns.target_step * PIXEL
                box = [patterns.index(lanes), place, *steps, rows.length, columns.length]
                own, number = [BORDER] * most, [0] * most
                for i, (part, block) in enumerate(sources):
                    if part == BORDER or image is None or rows.source is None or columns.source is None:
                        box += [0, 0, 0]
                        continue
                    own[i], number[i] = part, image
                    box.append(_place(parts[part], 0, block, rows.source, columns.source))
                    box += [rows.source_step * parts[part][3] * PIXEL, columns.source_step * PIXEL]
                boxes.append(box + [0] * (HEADER + most * WORDS - len(box)))
                owners.append(own)
                numbers.append(number)
    return Plan(np.array(boxes, np.int64), np.array(owners), np.array(numbers), patterns)


def _place(shape: Shape, n: int, block: int, row: int, column: int) -> int:
    """Bytes from the beginning of an image array's blocks."""
    return (((n * -(-shape[1] // BLOCK) + block) * shape[2] + row) * shape[3] + column) * PIXEL


def _pattern(
    channels: Sequence[tuple[int, int]], parts: tuple[Shape, ...], bordered: bool
) -> tuple[Lanes, list[tuple[int, int]]]:
    """The lanes of a block of the result, and the blocks (part, block) that they are from."""
    homes = [(part, c // BLOCK) for part, c in channels]
    sources = list(dict.fromkeys(homes))
    lanes = [sources.index(home) * BLOCK + c % BLOCK for home, (_, c) in zip(homes, channels, strict=True)]
    if lanes == list(range(len(lanes))) and not bordered:
        part, block = sources[0]
        if len(lanes) == parts[part][1] - block * BLOCK:
            lanes = list(range(BLOCK))  # what follows the last channel is 0 there as well: one pattern less
    return (*lanes, *[NOTHING] * (BLOCK - len(lanes))), sources


def _areas(
    shape: Shape, read: tuple[Places, ...], written: tuple[Places, ...], parts: tuple[Shape, ...]
) -> list[tuple[Run, Run]]:
    """Rows and columns of the boxes that a plane is made of."""
    whole = _all(shape)[2:]
    if read[2:] == written[2:] == whole and all(part[2:] == shape[2:] for part in parts):
        return [(Run(0, 1, 1, 0, 1), Run(0, 1, shape[2] * shape[3], 0, 1))]
    everywhere = Run(0, 1, shape[3])
    columns = _runs(shape[3], read[3], written[3])
    return [
        (rows, run)
        for rows in _runs(shape[2], read[2], written[2])
        for run in (columns if rows.source is not None else [everywhere])
    ]


def _runs(size: int, read: Places, written: Places) -> list[Run]:
    """An axis of the result: what is written, and what is not."""
    (source, source_step, count), (first, step, _) = read, written
    if step < 0:
        source, source_step = source + (count - 1) * source_step, -source_step
        first, step = first + (count - 1) * step, -step
    runs = [Run(first, step, count, source, source_step), Run(0, 1, first)]
    for start in (first + count * step, *range(first + 1, first + step)):  # behind, and between
        runs.append(Run(start, step, max(0, -((start - size) // step))))
    return [run for run in runs if run.length]


def _origins(size: int, read: Places, written: Places) -> list[int | None]:
    """For each place of an axis of the result, the one that it is from."""
    origins: list[int | None] = [None] * size
    for i in range(read[2]):
        origins[written[0] + i * written[1]] = read[0] + i * read[1]
    return origins


def _weave(plan: Plan, shape: Shape, parts: Sequence[Blocked], value: float = 0) -> Blocked:
    y = Blocked.empty(shape, parts[0].dtype)
    target = y.blocks()
    border = np.full((1, BLOCK), value, target.dtype)
    sources = [*(part.images() for part in parts), border]  # the border is the last, and so number −1
    starts = np.array([address_of(source) for source in sources], np.int64)
    apart = np.array([source.strides[0] for source in sources], np.int64)
    boxes = plan.boxes.copy()
    boxes[:, 0] = np.array([address("float32", weave, lanes=lanes) for lanes in plan.patterns])[boxes[:, 0]]
    boxes[:, 1] += address_of(target)
    boxes[:, HEADER::WORDS] += starts[plan.owners] + plan.numbers * apart[plan.owners]
    run(len(boxes), target.nbytes, each_box, [boxes, boxes.strides[0]])
    return y


def contiguous(images: np.ndarray) -> np.ndarray:
    """(N, blocks, H, W, 16) as an array of its own."""
    target = empty(images.shape, images.dtype)
    move(images, target)
    return target


# --- micro-kernels ----------------------------------------------------------------------------------------------------


def each_box(code, share, first, last, words):
    """Calls the micro-kernel of each box first ≤ i < last. words: the boxes, and the bytes from one to the next."""
    boxes, step = code.load_ints(words, 2)

    def one(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        box = code.plus(boxes, code.times(code.plus(first, i), step))
        code.call(code.load_int(box), [box])
        return nothing

    code.loop(code.builder.sub(last, first), [], one)


def weave(code, box, *, lanes):
    """Each pixel of a box from as many sources as the pattern has. box: as Plan describes it."""
    code = code.of_lanes(BLOCK)
    sources = max(lanes) // BLOCK + 1
    _, target, *target_steps, rows, columns = code.load_ints(box, HEADER)
    steps, starts = [target_steps], [target]
    for i in range(sources):
        start, *source_steps = code.load_ints(code.plus(box, 8 * (HEADER + i * WORDS)), WORDS)
        starts.append(start)
        steps.append(source_steps)

    def row(i: ir.Value, at: list[ir.Value]) -> list[ir.Value]:
        def pixel(j: ir.Value, at: list[ir.Value]) -> list[ir.Value]:
            code.store(_woven(code, [code.load(source) for source in at[1:]], lanes), at[0])
            return [code.plus(a, step) for a, (_, step) in zip(at, steps, strict=True)]

        code.loop(columns, at, pixel)
        return [code.plus(a, step) for a, (step, _) in zip(at, steps, strict=True)]

    code.loop(rows, starts, row)


def _woven(code: Code, pixels: list[ir.Value], lanes: Lanes) -> ir.Value:
    woven = code.zero
    for i, pixel in enumerate(pixels):
        own = [BLOCK + lane % BLOCK if lane // BLOCK == i else place for place, lane in enumerate(lanes)]
        woven = code.shuffle(woven, pixel, own)
    return woven
