"""Weight files: what is written is read again, PyTorch's are read, and what is wrong is neither believed nor run."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from minicnn import nn
from minicnn.errors import CheckpointError
from minicnn.formats import load_weights, save_weights

from .torch_files import Saved, archive, legacy, pickled, zipped

GENERATOR = np.random.default_rng(0)
STATE = {
    "conv.weight": GENERATOR.normal(size=(3, 2, 1, 2)).astype(np.float32),
    "double": GENERATOR.normal(size=4),
    "half": GENERATOR.normal(size=(2, 3)).astype(np.float16),
    "bn.num_batches_tracked": np.array(7),
    "bytes": np.arange(5, dtype=np.uint8),
    "flags": np.array([True, False]),
    "nothing": np.zeros((0, 3), np.float32),
}


def same(actual, expected):
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype and actual[name].flags.writeable
        np.testing.assert_array_equal(actual[name], array)


def file_of(tmp_path, content, name="weights.pth"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


# --- what is right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_is_written_is_read_again_and_the_bytes_depend_on_it_alone(suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    save_weights(path, STATE)
    loaded = load_weights(path)
    same(dict(sorted(loaded.items())), dict(sorted(STATE.items())))
    first = path.read_bytes()
    os.utime(path, (0, 0))
    save_weights(path, loaded if suffix == ".npz" else STATE)
    assert path.read_bytes() == first


def test_numpy_reads_the_npz(tmp_path):
    save_weights(tmp_path / "weights.npz", STATE)
    with np.load(tmp_path / "weights.npz") as archive_of_numpy:
        same(dict(archive_of_numpy), STATE)


@pytest.mark.parametrize("written", [legacy, archive])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pytorchs_formats_are_read(written, order, tmp_path):
    content = OrderedDict((name, Saved(array)) for name, array in STATE.items())
    content._metadata = OrderedDict(version=1)  # as state_dict() has it
    same(load_weights(file_of(tmp_path, written(content, order))), STATE)


@pytest.mark.parametrize("written", [legacy, archive])
def test_views_of_one_storage_are_told_apart(written, tmp_path):
    storage = np.arange(12, dtype=np.float32)
    whole = storage.reshape(3, 4)
    content = {
        "whole": Saved(whole, storage),
        "transposed": Saved(whole.T, storage, stride=(1, 4)),
        "part": Saved(whole[1:, 2:], storage, offset=6, stride=(4, 1)),
        "column": Saved(whole[:, 3], storage, offset=3, stride=(4,)),
    }
    loaded = load_weights(file_of(tmp_path, written(content)))
    same(loaded, {"whole": whole, "transposed": whole.T, "part": whole[1:, 2:], "column": whole[:, 3]})
    loaded["whole"][:] = 0
    assert loaded["transposed"].any(), "arrays share memory"


BFLOAT16 = {0x3F80: 1.0, 0xC049: -3.140625, 0x0001: 2.0**-133, 0x7F80: np.inf, 0x0000: 0.0}


@pytest.mark.parametrize("kind", ["legacy", "archive", "safetensors"])
def test_bfloat16_is_float32_with_the_lower_half_zero(kind, tmp_path):
    words = np.array(list(BFLOAT16), np.uint16)
    if kind == "safetensors":
        header = json.dumps({"x": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}).encode()
        content = len(header).to_bytes(8, "little") + header + words.astype("<u2").tobytes()
    else:
        content = {"legacy": legacy, "archive": archive}[kind]({"x": Saved(words, kind="bfloat16")})
    loaded = load_weights(file_of(tmp_path, content))["x"]
    assert loaded.dtype == np.float32 and loaded.tolist() == list(BFLOAT16.values())


def test_half_precision_is_cast_to_the_models(tmp_path):
    layer = nn.Linear(3, 2)
    state = {name: value.numpy().astype(np.float16) for name, value in layer.state_dict().items()}
    save_weights(tmp_path / "half.safetensors", state)
    layer.load_state_dict(load_weights(tmp_path / "half.safetensors"))
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight, state["weight"].astype(np.float32))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_training_checkpoints_and_parallel_names_are_unwrapped(wrapper, tmp_path):
    content = {"epoch": 3, wrapper: OrderedDict({"module.a": Saved(STATE["double"]), "module.b": Saved(STATE["half"])})}
    same(load_weights(file_of(tmp_path, legacy(content))), {"a": STATE["double"], "b": STATE["half"]})


@pytest.mark.torch
@pytest.mark.parametrize("new", [False, True])
def test_what_pytorch_itself_writes(new, tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4)).to(torch.float64)
    state = {**model.state_dict(), "half": torch.randn(3).half(), "brain": torch.tensor([1.5, -2]).bfloat16()}
    torch.save(state, tmp_path / "weights.pth", _use_new_zipfile_serialization=new)
    expected = {name: value.float().numpy() if name == "brain" else value.numpy() for name, value in state.items()}
    same(load_weights(tmp_path / "weights.pth"), expected)


# --- what is wrong ----------------------------------------------------------------------------------------------------


class Attack:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(victim):
    return {
        "posix.system": Attack(os.system, f"touch {victim}"),
        "__builtin__.eval": Attack(eval, f"open({str(victim)!r}, 'w')"),
        "__builtin__.exec": Attack(exec, f"open({str(victim)!r}, 'w')"),
        "__builtin__.getattr": Attack(getattr, "", "upper"),
        "numpy.load": Attack(np.load, str(victim)),
    }


@pytest.mark.parametrize("name", attacks("x"))
@pytest.mark.parametrize("written", [legacy, archive])
def test_a_malicious_pickle_is_refused_by_the_name_of_what_it_asks_for(name, written, tmp_path):
    victim = tmp_path / "victim"
    content = {"weight": Saved(STATE["double"]), "payload": attacks(victim)[name]}
    asked = name if name != "numpy.load" else "numpy.*load"
    with pytest.raises(CheckpointError, match=f"asks for {asked}, which is neither a tensor nor a container"):
        load_weights(file_of(tmp_path, written(content)))
    assert not victim.exists()


@pytest.mark.parametrize("position", range(3))
def test_an_attack_before_the_weights_is_refused_too(position, tmp_path):
    """The legacy format begins with three more pickles."""
    victim = tmp_path / "victim"
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts[position] = pickle.dumps(Attack(os.system, f"touch {victim}"), 2)
    with pytest.raises(CheckpointError, match=r"asks for posix\.system"):
        load_weights(file_of(tmp_path, b"".join(parts)))
    assert not victim.exists()


REBUILD = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"\x80\x02ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    "body",
    [
        REBUILD + b"}X\x08\x00\x00\x00__call__K\x01sb.",  # BUILD: attributes of what is allowed
        REBUILD + b"}}X\x09\x00\x00\x00__class__K\x01s\x86b.",  # BUILD with slots
        ORDERED + b"}}X\x08\x00\x00\x00__init__K\x01s\x86b.",
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo of two thousand million objects
        b"\x80\x02B\xff\xff\xff\x7fabc.",  # a string of two gigabytes, of which three bytes are there
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02]q\x00h\x00a.",  # a list that contains itself
        b"\x80\x02}" + b"X\x01\x00\x00\x00a}" * 2000 + b"s" * 2000 + b".",  # 2000 dicts in one another
        b"\x80\x02cos\n.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02K\x01Q.",  # an unknown persistent id
    ],
)
def test_tricks_with_the_pickle_machine_do_nothing(body, tmp_path):
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"no readable PyTorch file|asks for|holds no weights"):
            load_weights(file_of(tmp_path, zipped(body, {})))
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    same(load_weights(file_of(tmp_path, archive({"a": Saved(STATE["double"])}))), {"a": STATE["double"]})


def test_lists_of_lists_that_double_at_each_level_take_no_time(tmp_path):
    """2⁹⁰ paths lead to the innermost; each object is visited once."""
    content = []
    for _ in range(90):
        content = [content, content]
    with pytest.raises(CheckpointError, match="is no tensor, but list"):
        load_weights(file_of(tmp_path, legacy({"a": content})))


@pytest.mark.parametrize(
    "saved",
    [
        Saved(np.zeros(4, np.float32), elements=3),  # a storage that is longer than it says
        Saved(np.zeros(4, np.float32), elements=5),
        Saved(np.zeros(4, np.float32), offset=1),  # beyond the end
        Saved(np.zeros((2, 2), np.float32), stride=(3, 1)),
        Saved(np.zeros((2, 2), np.float32), stride=(-2, 1)),
        Saved(np.zeros((2, 2), np.float32), stride=(1,)),
        Saved(np.zeros(4, np.float32), offset=-1),
        Saved(np.broadcast_to(np.float32(0), (10**6, 10**6)), np.zeros(1, np.float32), stride=(0, 0)),
        Saved(np.zeros(4, np.float32), offset=2.0),
    ],
)
@pytest.mark.parametrize("written", [legacy, archive])
def test_tensors_that_lie_about_their_storage(saved, written, tmp_path):
    with pytest.raises(CheckpointError, match="no readable PyTorch file"):
        load_weights(file_of(tmp_path, written({"a": saved})))


@pytest.mark.parametrize("kind", ["legacy", "archive", ".safetensors", ".npz"])
def test_files_that_end_too_early(kind, tmp_path):
    if kind.startswith("."):
        save_weights(tmp_path / f"whole{kind}", STATE)
        whole = (tmp_path / f"whole{kind}").read_bytes()
    else:
        whole = {"legacy": legacy, "archive": archive}[kind]({name: Saved(a) for name, a in STATE.items()})
    for length in (0, 1, 5, 9, 20, len(whole) // 3, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        with pytest.raises(CheckpointError, match=r"readable|no weight file|asks for"):
            load_weights(file_of(tmp_path, whole[:length]))


@pytest.mark.parametrize("kind", ["legacy", "archive", ".safetensors", ".npz"])
def test_files_with_a_byte_changed_give_weights_or_a_teaching_error(kind, tmp_path):
    if kind.startswith("."):
        save_weights(tmp_path / f"whole{kind}", STATE)
        whole = (tmp_path / f"whole{kind}").read_bytes()
    else:
        whole = {"legacy": legacy, "archive": archive}[kind]({name: Saved(a) for name, a in STATE.items()})
    generator = np.random.default_rng(1)
    refused = 0
    for position in generator.integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(generator.integers(8))
        try:
            load_weights(file_of(tmp_path, bytes(changed)))
        except CheckpointError:
            refused += 1
    assert refused > 10


def test_compressed_records_are_refused_as_pytorch_writes_none(tmp_path):
    """A few bytes can become any number of them."""
    content = {"a": Saved(np.zeros(10**6, np.float32))}
    with pytest.raises(CheckpointError, match="is compressed"):
        load_weights(file_of(tmp_path, archive(content, compression=zipfile.ZIP_DEFLATED)))


def test_npz_files_with_objects_are_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="allow_pickle"):
        load_weights(tmp_path / "weights.npz")


def test_what_is_no_weights_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="there is no weight file"):
        load_weights(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"known here: \.safetensors, \.npz, or PyTorch's \.pth"):
        load_weights(file_of(tmp_path, b"#!/bin/sh\nexit\n" * 9))
    with pytest.raises(CheckpointError, match="holds no weights by name, but list"):
        load_weights(file_of(tmp_path, legacy([1, 2])))
    with pytest.raises(CheckpointError, match="epoch is no tensor, but int"):
        load_weights(file_of(tmp_path, legacy({"epoch": 3})))
    with pytest.raises(CheckpointError, match=r"saved as \.safetensors or \.npz"):
        save_weights(tmp_path / "weights.pth", STATE)
    body, _ = pickled({"a": 1})
    assert body.startswith(b"\x80\x02")
