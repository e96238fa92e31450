"""Photographs: read upright and whole or refused; cut, resized and scaled as networks were trained."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from minicnn.errors import DataError
from minicnn.formats import Preprocessing, prepare, read_image

LITE = Preprocessing(4, None, 4, "bicubic", (127.0,) * 3, (128.0,) * 3)  # the middle half
USUAL = Preprocessing(4, 8, 0, "bilinear", (100.0, 50.0, 0.0), (10.0, 20.0, 40.0))


def ramp(height, width):
    """Red says the row, green the column, blue is 200."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, 200)], axis=2).astype(np.uint8)


def test_the_middle_is_cut_out_before_resizing():
    """Of 11 × 9 the middle ⌊9·4/8⌋ = 4, from row ⌈7/2⌉ and column ⌈5/2⌉: nothing is resized."""
    x = prepare(ramp(11, 9), LITE)
    assert x.shape == (3, 4, 4) and x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_allclose(x[0, :, 0] * 128 + 127, [4, 5, 6, 7])
    np.testing.assert_allclose(x[1, 0] * 128 + 127, [3, 4, 5, 6])
    np.testing.assert_allclose(x[2], (200 - 127) / 128)


def test_the_shorter_side_is_resized_before_the_middle_is_cut_out():
    """16 × 24 becomes 8 × 12 with pixels at 0.5, 2.5, ...; of these rows 2 to 5 and columns 4 to 7."""
    x = prepare(ramp(16, 24), USUAL)
    rows, columns = x[0, :, 1] * 10 + 100, x[1, 1] * 20 + 50
    np.testing.assert_allclose(rows, 2 * np.arange(2, 6) + 0.5, atol=0.51)
    np.testing.assert_allclose(columns, 2 * np.arange(4, 8) + 0.5, atol=0.51)
    np.testing.assert_allclose(x[2] * 40, 200)


def test_reduction_is_antialiased():
    """A chessboard of single pixels becomes grey, not one of its colours."""
    board = np.where(np.indices((64, 64)).sum(0) % 2, 255, 0).astype(np.uint8)
    x = prepare(np.stack([board] * 3, 2), LITE._replace(border=0))
    assert np.abs(x * 128 + 127 - 127.5).max() < 6


def test_photographs_are_turned_upright_and_become_rgb(tmp_path):
    image = Image.fromarray(ramp(6, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").size == (6, 10)
    image.convert("L").save(tmp_path / "grey.jpg")
    assert read_image(tmp_path / "grey.jpg").mode == "RGB"
    image.convert("RGBA").save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png").mode == "RGB"


def test_files_that_are_no_photographs(tmp_path):
    with pytest.raises(DataError, match="there is no image"):
        read_image(tmp_path / "nowhere.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(DataError, match="no image that Pillow knows"):
        read_image(tmp_path / "text.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    for suffix in ("png", "jpg"):
        Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
        whole = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match="damaged or incomplete"):
            read_image(tmp_path / f"cut.{suffix}")


def test_arrays_that_are_no_images():
    with pytest.raises(DataError, match=r"\(H, W, 3\) of uint8, got \(3, 4, 4\)"):
        prepare(np.zeros((3, 4, 4), np.uint8), LITE)
    with pytest.raises(DataError, match="of float32"):
        prepare(np.zeros((4, 4, 3), np.float32), LITE)
    with pytest.raises(DataError, match="needs pixels"):
        prepare(Image.new("RGB", (0, 3)), LITE)
