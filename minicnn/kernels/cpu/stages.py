"""Work on images in blocks of channels, piece by piece: one loop that calls micro-kernels by address.

    image n, block c    ████████▓▓▓▓▓▓▓▓▒▒▒▒       a piece: at most 512 pixels of one block of one image, 64 bytes each
                        piece 0 piece 1 piece 2

    a stage             micro-kernel(pixels, a, b, c, ...) for one piece after the other; a, b, c ... are addresses, and
                        each Operand says how its address moves with image, block and pixel
    a plan              stages; made once for each shape, and run with the arrays of a call

If the blocks can be shared out evenly between the threads, a thread takes a block through all stages: then much of what
a stage has read is still in L2 for the next one. That one begins at the end, where it was read last. Else the pieces
are shared out, stage by stage. The pieces depend on the shape alone: if sums are taken for each piece, and added up in
the order of the pieces, then results depend neither on the number of threads nor on which way was taken.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .arguments import address_of
from .blocked import BLOCK
from .microkernels import address
from .passes import start
from .threads import get_num_threads

PIXEL = 4 * BLOCK  # bytes
PIECE = 512  # pixels, 32 KB: a call costs nothing beside them, and sums of float32 are short
SMALL = 1 << 17  # numbers that one thread has dealt with before a second has woken up
OPERANDS = 6


class Geometry(NamedTuple):
    """What stages go through: images · blocks planes of so many pixels, shared out between so many threads."""

    images: int
    blocks: int
    pixels: int
    threads: int

    def pieces(self) -> int:
        """Of one block, in all images."""
        return self.images * -(-self.pixels // PIECE)


def geometry_of(shape: tuple[int, ...]) -> Geometry:
    """Of images (N, C, H, W)."""
    return _geometry(shape, get_num_threads(), SMALL)


@functools.cache
def _geometry(shape: tuple[int, ...], threads: int, small: int) -> Geometry:
    images, blocks, pixels = shape[0], -(-shape[1] // BLOCK), shape[2] * shape[3]
    return Geometry(images, blocks, pixels, 1 if images * blocks * pixels * BLOCK < small else threads)


class Operand(NamedTuple):
    """Address of array number `array`, plus `offset`; and how many bytes it moves with each image, block, pixel and
    piece. NUMBER as array: the offset is no address but a number for the micro-kernel."""

    array: int
    image: int = 0
    block: int = 0
    pixel: int = 0
    piece: int = 0
    offset: int = 0


NUMBER = -1


def image_operand(array: int, geometry: Geometry, pixel: int = PIXEL, offset: int = 0) -> Operand:
    """An array (N, blocks, H, W) with `pixel` bytes for each pixel."""
    plane = geometry.pixels * pixel
    return Operand(array, image=geometry.blocks * plane, block=plane, pixel=pixel, offset=offset)


class Stage(NamedTuple):
    """A micro-kernel by its address, and what it gets: for each piece, or once for each block."""

    micro_kernel: int
    operands: tuple[Operand, ...]
    once: bool = False
    backwards: bool = False  # from the last piece to the first


class Plan:
    """run(*arrays) runs the stages, with operands counted in the order of the arrays."""

    def __init__(self, geometry: Geometry, *stages: Stage):
        blocks, threads, pieces = geometry.blocks, geometry.threads, geometry.pieces()
        if blocks % threads == 0 or blocks >= 8 * threads:  # a thread takes a block through all stages
            self.regions = [(0, len(stages), blocks, threads)]
            rows = [_row(geometry, stage, 1 if stage.once else pieces) for stage in stages]
        else:
            self.regions = [
                (s, 1, blocks, 1) if stage.once else (s, 1, blocks * pieces, threads) for s, stage in enumerate(stages)
            ]
            rows = [_row(geometry, stage, 1) for stage in stages]
        self.rows = np.array(rows)
        self.apart: dict[tuple[int, ...], np.ndarray] = {}  # rows for arrays whose images lie so many bytes apart

    def run(self, *arrays: np.ndarray) -> None:
        """The images of an array (N, blocks, H, W, 16) may lie as far apart as they like."""
        addresses = [address_of(a) for a in arrays]
        apart = tuple([0 if a.flags.c_contiguous else a.strides[0] for a in arrays])
        rows = self.apart.get(apart)
        if rows is None:
            rows = self.apart[apart] = _apart(self.rows, apart)
        start_of_rows, run_all = address_of(rows), address("float32", run_stages)
        for stage, stages, items, threads in self.regions:
            words = np.array([start_of_rows + stage * 8 * WIDTH, stages, 0, *addresses])
            start(items, threads, run_all, words)


HEAD, FIELDS = 8, 6  # numbers in a row for the stage, and for each operand
WIDTH = HEAD + FIELDS * OPERANDS
IMAGE = 2  # of these: bytes from image to image
ARRAYS = 3  # words before the addresses of the arrays; the last of them is 0, where a NUMBER begins


def _row(geometry: Geometry, stage: Stage, repeat: int) -> list[int]:
    """The pieces of a block are `blocks` apart in their numbers. Where stages repeat, an item is a block, else a piece
    (or a block, all of whose pieces a micro-kernel takes at once)."""
    first, step = ((repeat - 1) * geometry.blocks, -geometry.blocks) if stage.backwards else (0, geometry.blocks)
    row = [stage.micro_kernel, repeat, first, step, geometry.blocks, geometry.pieces() // geometry.images]
    row += [geometry.pixels, stage.backwards]
    for operand in stage.operands:
        place = 8 * (ARRAYS + operand.array)
        row += [place, operand.offset, operand.image, operand.block, operand.pixel, operand.piece]
    nothing = [8 * (ARRAYS + NUMBER), 0, 0, 0, 0, 0]
    return row + nothing * (OPERANDS - len(stage.operands))


def _apart(rows: np.ndarray, images: tuple[int, ...]) -> np.ndarray:
    """Rows of numbers for arrays whose images are so many bytes apart; 0 for those that are in C order."""
    rows = rows.copy()
    operands = rows[:, HEAD:].reshape(len(rows), OPERANDS, FIELDS)
    for array, image in enumerate(images):
        if image:
            operands[operands[:, :, 0] == 8 * (ARRAYS + array), IMAGE] = image
    return rows


# --- the micro-kernel that calls the others ---------------------------------------------------------------------------


def run_stages(code, share, first, last, words):
    """For each item: for each row of numbers its micro-kernel, `repeat` times. words: the rows, how many, 0, arrays."""
    rows, stages = code.load_ints(words, 2)
    backwards = code.load_int(code.plus(rows, 8 * (HEAD - 1)))  # 0 or 1, as the first stage is
    items = code.minus_int(last, first)

    # A micro-kernel with fewer operands leaves the rest of its arguments alone, by the convention of every platform.
    def each_item(i, nothing):
        forwards = code.plus(first, i)
        from_end = code.minus_int(code.plus(last, -1), i)
        item = code.either(backwards, from_end, forwards)

        def each_stage(s, at):
            micro_kernel, repeat, offset, step, blocks, pieces, pixels = code.load_ints(at[0], HEAD - 1)

            def each_piece(j, nothing):
                number = code.plus(item, code.plus(offset, code.times(j, step)))
                place, block = code.divided(number, blocks)
                image, piece = code.divided(place, pieces)
                pixel = code.times(piece, PIECE)
                moves = (image, block, pixel, number)
                operands = [code.plus(at[0], 8 * (HEAD + FIELDS * k)) for k in range(OPERANDS)]
                count = code.at_most_int(code.minus_int(pixels, pixel), PIECE)
                code.call(micro_kernel, [count, *(_address(code, words, o, moves) for o in operands)])
                return nothing

            code.loop(repeat, [], each_piece)
            return [code.plus(at[0], 8 * WIDTH)]

        code.loop(stages, [rows], each_stage)
        return nothing

    code.loop(items, [], each_item)


def _address(code, words, operand, moves):
    """Where the array begins, plus an offset, plus steps times image, block, pixel and number of the piece."""
    place, address, *steps = code.load_ints(operand, FIELDS)
    address = code.plus(address, code.load_int(code.plus(words, place)))
    for move, step in zip(moves, steps, strict=True):
        address = code.plus(address, code.times(move, step))
    return address
