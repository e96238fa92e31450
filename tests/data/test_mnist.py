"""MNIST: it is MNIST, to the byte; a batch is what LeCun et al. describe; wrong folders are explained."""

import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from minicnn import data
from minicnn.data import MNIST, ArrayDataset, write_idx
from minicnn.data.mnist import EMBEDDED, lenet_input
from minicnn.errors import DataError

SHA256 = {  # of the four files as they were published, decompressed
    "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@pytest.fixture(scope="module")
def train():
    return MNIST.train()


@pytest.fixture(scope="module")
def test():
    return MNIST.test()


def idx_bytes(array):
    """IDX by hand, of the numbers the data set gives: no code of minicnn/data/idx.py."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def refused(call, *parts):
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    for part in ("expected", "found", *parts):
        assert part in message
    assert "\n" not in message and ". " not in message
    assert len(message.rsplit(": ", 1)[1].split()) >= 3, "no way out"


# --- the embedded set -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_every_byte_is_the_published_one(request, split, part):
    array = getattr(request.getfixturevalue(split), part)
    assert hashlib.sha256(idx_bytes(array)).hexdigest() == SHA256[f"{split} {part}"]


def test_shapes_types_and_classes(train, test):
    assert train.images.shape == (60000, 28, 28) and test.images.shape == (10000, 28, 28)
    assert len(train) == 60000 and len(test) == 10000
    for split in (train, test):
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        assert split.labels.shape == (len(split),)
        assert split.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_the_files_are_small_and_their_licence_stands_beside_them():
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) <= 12_000_000
    for text in ((EMBEDDED / "README.md").read_text("utf-8"), data.mnist.__doc__):
        for part in ("Yann LeCun and Corinna Cortes", "CC BY-SA 3.0", "NIST"):
            assert part in text
    for digest in SHA256.values():
        assert digest in (EMBEDDED / "README.md").read_text("utf-8")


def test_the_first_thousand_are_a_fair_sample(train):
    assert np.bincount(train[:1000].labels, minlength=10).min() >= 80


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_the_padded_and_mapped_images_one_pixel_at_a_time(train):
    indices = [7, 59999, 0, 7]
    x, y = train.batch(indices)
    assert x.shape == (4, 1, 32, 32) and x.dtype == np.float32 and x.flags.c_contiguous
    assert y.shape == (4,) and y.dtype == np.int64
    expected = np.empty((4, 1, 32, 32))
    for n, index in enumerate(indices):
        for row in range(32):
            for column in range(32):
                inside = 2 <= row < 30 and 2 <= column < 30
                level = float(train.images[index, row - 2, column - 2]) if inside else 0.0
                expected[n, 0, row, column] = -0.1 + (1.175 - -0.1) * level / 255
        assert y[n] == train.labels[index]
    np.testing.assert_allclose(x, expected, rtol=0, atol=2e-7)  # three roundings to float32, of numbers below 2


def test_background_and_ink_are_exactly_the_levels_of_the_paper():
    levels = lenet_input(np.array([[[0, 255]]], np.uint8))[0, 0, 2, 2:4]
    assert levels.tolist() == [np.float32(-0.1), np.float32(1.175)]


def test_mean_and_variance_of_the_training_inputs_are_as_documented(train):
    total = squares = count = 0.0
    for first in range(0, len(train), 1000):
        x = train.batch(np.arange(first, first + 1000))[0].ravel()
        total, squares, count = total + x.sum(), squares + x @ x, count + x.size
    mean = total / count
    assert mean == pytest.approx(0.028, abs=5e-4)
    assert squares / count - mean**2 == pytest.approx(0.123, abs=5e-4)


def test_a_batch_converts_nothing_but_itself(train):
    indices = np.arange(0, 60000, 938)
    assert len(indices) == 64
    tracemalloc.start()
    x, _ = train.batch(indices)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * x.nbytes


def test_a_batch_is_the_callers_own(train):
    before = train.images[:3].copy(), train.labels[:3].copy()
    x, y = train.batch([0, 1, 2])
    x[...], y[...] = 9, 9
    np.testing.assert_array_equal(train.images[:3], before[0])
    np.testing.assert_array_equal(train.labels[:3], before[1])


def test_a_slice_is_a_data_set_on_the_same_memory(train):
    part = train[100:200:2]
    assert isinstance(part, MNIST) and len(part) == 50 and part.classes == train.classes
    assert np.shares_memory(part.images, train.images)
    np.testing.assert_array_equal(part.batch([3])[0], train.batch([106])[0])
    assert part.batch([3])[1] == train.labels[106]
    assert len(train) == 60000, "slicing changed the whole set"


def test_a_choice_and_a_subset_are_data_sets(train):
    threes = train[np.flatnonzero(train.labels == 3)]
    assert set(threes.labels.tolist()) == {3} and threes.images.shape[1:] == (28, 28)
    np.testing.assert_array_equal(train.subset(10).images, train.images[:10])
    np.testing.assert_array_equal(train.subset(10).labels, train.labels[:10])


@pytest.mark.parametrize("indices", [5, [[1, 2]], [0.5], [True, False], "01", []])
def test_indices_that_numpy_would_misread_are_refused(train, indices):
    refused(lambda: train.batch(indices), "indices", "np.flatnonzero")
    refused(lambda: train[indices], "indices", "np.flatnonzero")


@pytest.mark.parametrize("n", [0, -1, 60001, 2.0, True])
def test_a_subset_of_no_size_is_refused(train, n):
    refused(lambda: train.subset(n), "subset size n", "1 to 60000", repr(n))


def test_an_index_out_of_range_is_refused(train):
    with pytest.raises(IndexError, match="60000"):
        train.batch([60000])


def test_any_images_can_be_a_data_set():
    images = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    plain = ArrayDataset(images, [1, 0], classes=["cat", "dog"])
    x, y = plain.batch([1, 0])
    np.testing.assert_array_equal(x, images[::-1])
    assert y.tolist() == [0, 1] and y.dtype == np.int64
    halved = ArrayDataset(images, [1, 0], classes=["cat", "dog"], transform=lambda x: x / 2)
    np.testing.assert_array_equal(halved[1:].batch([0])[0], images[1:] / 2)


# --- another folder ---------------------------------------------------------------------------------------------------


def write_folder(folder, names=("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), images=None, labels=None):
    images = np.full((2, 28, 28), 200, np.uint8) if images is None else images
    labels = np.array([7, 2], np.uint8) if labels is None else labels
    write_idx(folder / names[0], images)
    write_idx(folder / names[1], labels)


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_a_folder_replaces_the_embedded_set(tmp_path, dot, gz):
    write_folder(tmp_path, (f"train-images{dot}idx3-ubyte{gz}", f"train-labels{dot}idx1-ubyte{gz}"))
    write_folder(
        tmp_path,
        (f"t10k-images{dot}idx3-ubyte{gz}", f"t10k-labels{dot}idx1-ubyte{gz}"),
        labels=np.array([1, 0], np.uint8),
    )
    train, test = MNIST.train(tmp_path), MNIST.test(folder=str(tmp_path))
    assert train.labels.tolist() == [7, 2] and test.labels.tolist() == [1, 0]
    assert train.images.shape == (2, 28, 28) and (train.images == 200).all()


def test_a_folder_of_the_same_name_is_not_mistaken_for_the_file(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    write_folder(tmp_path, ("train-images.idx3-ubyte", "train-labels-idx1-ubyte"))
    assert len(MNIST.train(tmp_path)) == 2


def test_missing_folders_and_files_are_explained(tmp_path):
    refused(lambda: MNIST.train(tmp_path / "nowhere"), "nowhere", "no such folder", "folder=")
    refused(
        lambda: MNIST.test(tmp_path), str(tmp_path), "t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte.gz", "folder="
    )
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((1, 28, 28), np.uint8))
    refused(lambda: MNIST.test(tmp_path), str(tmp_path), "t10k-labels-idx1-ubyte")


@pytest.mark.parametrize(
    "images", [np.zeros((2, 32, 32), np.uint8), np.zeros((2, 784), np.uint8), np.zeros((2, 28, 28), np.float32)]
)
def test_images_of_another_kind_are_refused(tmp_path, images):
    write_folder(tmp_path, images=images)
    refused(lambda: MNIST.train(tmp_path), "train-images", "(N, 28, 28)", str(images.shape), "ArrayDataset")


def test_counts_that_differ_are_refused(tmp_path):
    write_folder(tmp_path, labels=np.zeros(3, np.uint8))
    refused(lambda: MNIST.train(tmp_path), "train-images", "train-labels", "(2, 28, 28)", "(3,)")


@pytest.mark.parametrize(
    "labels, found", [(np.array([3, 10], np.uint8), "10 at index 1"), (np.array([-1, 3], np.int8), "-1 at index 0")]
)
def test_labels_without_a_class_are_refused(tmp_path, labels, found):
    write_folder(tmp_path, labels=labels)
    refused(lambda: MNIST.train(tmp_path), "train-labels", "0 to 9", found)


@pytest.mark.parametrize("labels", [np.array([0, 1], np.float32), np.zeros((2, 10), np.uint8)])
def test_labels_that_are_no_class_numbers_are_refused(tmp_path, labels):
    write_folder(tmp_path, labels=labels)
    refused(lambda: MNIST.train(tmp_path), "train-labels", "(N,)", str(labels.shape), str(labels.dtype))


def test_a_damaged_file_is_named(tmp_path):
    write_folder(tmp_path)
    damaged = tmp_path / "train-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    refused(lambda: MNIST.train(tmp_path), str(damaged), "cut off")


def test_the_data_lie_inside_the_package():
    assert Path(data.__file__).parent == EMBEDDED.parent
