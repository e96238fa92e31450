"""IDX, the file format of MNIST: a short header, then the numbers of one array.

    byte 0, 1     0, 0
    byte 2        the type of the numbers (TYPES below)
    byte 3        the rank d, that is how many axes the array has
    4·d bytes     the length of each axis, unsigned 32-bit
    the rest      the numbers themselves, the last axis running fastest

Everything is big-endian, whatever the machine. A file whose name ends in .gz is this, compressed with gzip.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError

TYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
GZIP_START = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file, plain or .gz.

    path: the file -> an array of the shape and type in its header, in the byte order of this machine, writable.
    Raises DataError if the file is missing, damaged, or not IDX.
    """
    path = Path(path)
    content = _read_bytes(path)
    if content[:2] == GZIP_START:
        raise DataError(f"{path}: expected an IDX file, found gzip: add .gz to its name and it is read as it is")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError(
            f"{path}: expected an IDX file, which begins with the bytes 00 00, a type (08 09 0b 0c 0d 0e) and a rank, "
            f"found {content[:4].hex(' ') or 'an empty file'}: check that this is the right file"
        )
    dtype, rank = TYPES[content[2]], content[3]
    header = 4 + 4 * rank
    if len(content) < header:
        raise DataError(
            f"{path}: expected a header of {header} bytes for rank {rank}, found a file of {len(content)} bytes: "
            "the file is cut off, so copy or download it again"
        )
    shape = struct.unpack(f">{rank}I", content[4:header])
    expected = header + math.prod(shape) * dtype.itemsize  # in Python integers, which cannot overflow
    if len(content) != expected:
        damage = "the file is cut off" if len(content) < expected else "something was appended to it"
        raise DataError(
            f"{path}: expected {expected} bytes for shape {shape} of {dtype.name}, found {len(content)}: "
            f"{damage}, so copy or download it again"
        )
    try:
        array = np.frombuffer(content, dtype, offset=header).reshape(shape)
    except ValueError as error:  # a zero-size array whose other axes are absurd, or more axes than NumPy has
        raise DataError(
            f"{path}: expected a shape that NumPy can hold, found {shape} ({error}): check that this is the right file"
        ) from error
    return array.astype(dtype.newbyteorder("="))


def write_idx(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write an array as one IDX file, compressed if the name ends in .gz; equal arrays give equal bytes.

    path: the file, replaced if it exists; array: any shape, one of the six types of the format.
    Raises DataError if IDX has no code for the array's type.
    """
    path, array = Path(path), np.asarray(array)
    big_endian = array.dtype.newbyteorder(">")
    codes = {dtype: code for code, dtype in TYPES.items()}
    if big_endian not in codes:
        names = ", ".join(dtype.name for dtype in TYPES.values())
        raise DataError(
            f"{path}: expected an array of a type that IDX has ({names}), found {array.dtype.name}: "
            "convert it with array.astype(...)"
        )
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, codes[big_endian], array.ndim, *array.shape)
    content = header + array.astype(big_endian).tobytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)  # gzip's header has a clock in it; equal arrays, equal bytes
    path.write_bytes(content)


def _read_bytes(path: Path) -> bytes:
    """The content of a file, after decompression if its name ends in .gz."""
    try:
        content = path.read_bytes()
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise DataError(f"{path}: expected a file that can be read, found: {found}: check the path") from error
    if path.suffix != ".gz":
        return content
    if content[:2] != GZIP_START:
        raise DataError(
            f"{path}: expected gzip, which begins with 1f 8b, found {content[:2].hex(' ') or 'an empty file'}: "
            "some browsers unpack what they download and keep the name, so try it without .gz"
        )
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: expected a whole gzip file, found a damaged one ({error}): copy or download it again"
        ) from error
