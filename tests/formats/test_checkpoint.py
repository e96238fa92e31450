"""Checkpoints: whole or not at all, the same bytes for the same content, and one sentence for every damage."""

from __future__ import annotations

import os

import numpy as np
import pytest

from minicnn.errors import CheckpointError, TrainingError
from minicnn.formats import files, load_checkpoint, save_checkpoint

ARRAYS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(5), "c": np.ones((0, 2))}
FACTS = {"epoch": 3, "names": ["x", "ü"], "loss": 0.1}


def test_what_goes_in_comes_out(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", ARRAYS, FACTS)
    arrays, facts = load_checkpoint(tmp_path / "c.safetensors")
    assert facts == FACTS and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_non_contiguous_arrays_are_saved_as_they_look(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", {"t": ARRAYS["b"].T})
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "c.safetensors")[0]["t"], ARRAYS["b"].T)


def test_the_bytes_depend_on_the_content_alone(tmp_path):
    facts = {str(i): i for i in range(50)}  # in an order of their own, if they were separate keys
    for i in range(5):
        save_checkpoint(tmp_path / f"{i}", dict(reversed(list(ARRAYS.items()))) if i % 2 else ARRAYS, facts)
    assert len({(tmp_path / f"{i}").read_bytes() for i in range(5)}) == 1


def test_an_old_file_survives_a_crash_while_writing(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, ARRAYS, {"epoch": 1})
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"b": np.zeros(1000)}, {"epoch": 2})
    assert load_checkpoint(path)[1] == {"epoch": 1}
    assert not [p.name for p in tmp_path.glob("*.safetensors") if p != path], "a partial file looks like a checkpoint"


def test_a_full_disk_is_told_and_leaves_no_partial_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left"):
        save_checkpoint(tmp_path / "c.safetensors", ARRAYS)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, ARRAYS, FACTS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"truncated.*delete it") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_other_files_and_no_file_are_refused(tmp_path):
    (tmp_path / "text").write_text("this is no checkpoint, but it is long enough to look like one at first sight")
    for name, words in (("text", "no readable checkpoint"), ("nothing", "no checkpoint"), (".", "no checkpoint")):
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(tmp_path / name)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TrainingError, match="cannot be written"):
        save_checkpoint(tmp_path / "no" / "c.safetensors", ARRAYS)
