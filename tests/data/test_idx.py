"""The IDX format: against bytes written by hand, as a round trip, and with every kind of damage."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from minicnn.data import read_idx, write_idx
from minicnn.errors import DataError, MinicnnError

BY_HAND = [  # type, code of struct, three numbers whose bytes differ from their bytes reversed
    (0x08, "B", np.uint8, (0, 1, 255)),
    (0x09, "b", np.int8, (-128, -1, 127)),
    (0x0B, "h", np.int16, (-300, 1, 32000)),
    (0x0C, "i", np.int32, (-70000, 1, 2**30 + 7)),
    (0x0D, "f", np.float32, (-1.5, 0.1, 3e38)),
    (0x0E, "d", np.float64, (-1.5, 0.1, 1e300)),
]

arrays = st.sampled_from([row[2] for row in BY_HAND]).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def refused(call, *names):
    """The call raises a DataError of one sentence: which file, what was expected, what was found, the way out."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    for part in ("expected", "found", *names):
        assert part in message
    assert "\n" not in message and ". " not in message
    assert len(message.rsplit(": ", 1)[1].split()) >= 3, "no way out"
    return message


@pytest.mark.parametrize("code, letter, dtype, numbers", BY_HAND)
def test_every_type_of_the_format_is_read_and_written_big_endian(tmp_path, code, letter, dtype, numbers):
    by_hand = bytes([0, 0, code, 1]) + struct.pack(">I", 3) + struct.pack(f">3{letter}", *numbers)
    (tmp_path / "file").write_bytes(by_hand)
    array = read_idx(tmp_path / "file")
    np.testing.assert_array_equal(array, np.array(numbers, dtype))
    assert array.dtype == dtype and array.dtype.isnative
    write_idx(tmp_path / "again", array)
    assert (tmp_path / "again").read_bytes() == by_hand


def test_the_axes_are_big_endian_and_the_last_one_runs_fastest(tmp_path):
    (tmp_path / "file").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes([1, 2, 3, 4, 5, 6]))
    assert read_idx(tmp_path / "file").tolist() == [[1, 2, 3], [4, 5, 6]]


@settings(deadline=None)
@given(array=arrays, suffix=st.sampled_from(["", ".gz"]))
def test_what_is_written_is_read_back(tmp_path_factory, array, suffix):
    path = tmp_path_factory.mktemp("idx") / f"file{suffix}"
    write_idx(path, array)
    again = read_idx(path)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_only_a_name_with_gz_is_compressed(tmp_path):
    write_idx(tmp_path / "file.gz", np.zeros(1000, np.uint8))
    write_idx(tmp_path / "file", np.zeros(1000, np.uint8))
    assert gzip.decompress((tmp_path / "file.gz").read_bytes()) == (tmp_path / "file").read_bytes()


def test_memory_layout_and_byte_order_do_not_reach_the_file(tmp_path):
    array = np.arange(12, dtype="<i4").reshape(3, 4)
    write_idx(tmp_path / "plain", array)
    write_idx(tmp_path / "strided", np.repeat(array.astype(">i4").T, 2, axis=0)[::2].T)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "strided").read_bytes()


def test_equal_arrays_give_equal_gzip_files_at_any_time(tmp_path, monkeypatch):
    for clock in (1_000_000_000, 1_700_000_000):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        write_idx(tmp_path / f"{clock}.gz", np.arange(9, dtype=np.uint8))
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()


def test_the_array_is_writable(tmp_path):
    write_idx(tmp_path / "file", np.zeros(3, np.uint8))
    read_idx(tmp_path / "file")[0] = 1


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.bool_, np.complex64])
def test_a_type_that_idx_lacks_is_refused_and_no_file_is_left(tmp_path, dtype):
    refused(lambda: write_idx(tmp_path / "file", np.zeros(3, dtype)), "file", np.dtype(dtype).name, "astype", "int32")
    assert not list(tmp_path.iterdir())


def test_data_error_is_a_value_error_of_minicnn():
    assert issubclass(DataError, MinicnnError) and issubclass(DataError, ValueError)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(lambda: read_idx(tmp_path / "missing"), "missing", "No such file")
    refused(lambda: read_idx(str(tmp_path / "missing.gz")), "missing.gz", "No such file")
    refused(lambda: read_idx(tmp_path), str(tmp_path), "directory")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    write_idx(path, np.arange(6, dtype=np.int16).reshape(2, 3))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(lambda: read_idx(path), path.name)


def test_cut_off_and_trailing_bytes_are_told_apart(tmp_path):
    write_idx(tmp_path / "file", np.arange(6, dtype=np.int16))
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[:-1])
    refused(lambda: read_idx(tmp_path / "file"), "(6,) of int16", "20 bytes", "found 19", "cut off")
    (tmp_path / "file").write_bytes(whole + b"\0")
    refused(lambda: read_idx(tmp_path / "file"), "(6,) of int16", "20 bytes", "found 21", "appended")
    (tmp_path / "file.gz").write_bytes(gzip.compress(whole) + b"more")
    refused(lambda: read_idx(tmp_path / "file.gz"), "damaged")


def test_a_changed_byte_in_a_gzip_file_is_refused(tmp_path):
    path = tmp_path / "file.gz"
    write_idx(path, np.arange(100, dtype=np.uint8))
    whole = bytearray(path.read_bytes())
    for place in range(10, len(whole)):  # the first 10 bytes are gzip's header: clock and system, which nothing checks
        damaged = whole.copy()
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        refused(lambda: read_idx(path), "file.gz", "damaged")


def test_gzip_without_the_name_and_the_name_without_gzip_are_explained(tmp_path):
    write_idx(tmp_path / "packed.gz", np.zeros(3, np.uint8))
    write_idx(tmp_path / "plain", np.zeros(3, np.uint8))
    (tmp_path / "packed.gz").rename(tmp_path / "packed")
    (tmp_path / "plain").rename(tmp_path / "plain.gz")
    refused(lambda: read_idx(tmp_path / "packed"), "packed", "add .gz")
    refused(lambda: read_idx(tmp_path / "plain.gz"), "plain.gz", "00 00", "without .gz")


@pytest.mark.parametrize("start", [b"PK\3\4", b"\1\0\x08\1", b"\0\1\x08\1", b"\0\0\x0a\1", b"\0\0\0\0", b"<htm", b""])
def test_a_file_of_another_kind_is_refused(tmp_path, start):
    (tmp_path / "file").write_bytes(start + bytes(20) * bool(start))
    refused(lambda: read_idx(tmp_path / "file"), "file", "IDX", start.hex(" ") or "empty")


def test_shapes_beyond_numpy_are_refused(tmp_path):
    many = tmp_path / "many"
    many.write_bytes(bytes([0, 0, 8, 255]) + struct.pack(">I", 1) * 255 + b"\1")
    refused(lambda: read_idx(many), "many", "NumPy")
    huge = tmp_path / "huge"
    huge.write_bytes(bytes([0, 0, 8, 5]) + struct.pack(">I", 2**32 - 1) * 4 + struct.pack(">I", 0))
    refused(lambda: read_idx(huge), "huge", "NumPy")
    overflow = (
        tmp_path / "overflow"
    )  # 2³² · 2³² numbers, which is 0 modulo 2⁶⁴: no bytes follow, and none may be missing
    overflow.write_bytes(bytes([0, 0, 8, 4]) + struct.pack(">I", 2**16) * 4)
    refused(lambda: read_idx(overflow), "overflow", str(2**64 + 20), "found 20")


@settings(deadline=None)
@given(content=st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\0\0\x08" + rest))
def test_any_bytes_are_an_array_or_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except DataError:
        return
    write_idx(path, array)
    assert path.read_bytes() == content
