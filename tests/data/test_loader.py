"""The loader: every example once, in an order that a few lines of plain Python compute again, resumable anywhere."""

import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.data import ArrayDataset, DataLoader
from minicnn.errors import DataError


def numbered(n):
    """A data set whose x and y tell which example they are."""
    return ArrayDataset(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n), classes=[""] * n)


def indices(batches):
    return [y.tolist() for _, y in batches]


def flat(batches):
    return list(itertools.chain.from_iterable(indices(batches)))


def philox(seed, call, n):
    """Philox4x32-10 as in Salmon et al. 2011, on Python integers: n words, counter = (block, call), key = seed."""
    mask, words = 2**32 - 1, []
    for block in range((n + 3) // 4):
        c = [block & mask, block >> 32, call & mask, call >> 32]
        key = [seed & mask, seed >> 32]
        for _ in range(10):
            low, high = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(high >> 32) ^ c[1] ^ key[0], high & mask, (low >> 32) ^ c[3] ^ key[1], low & mask]
            key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
        words += c
    return words[:n]


def refused(call, *parts):
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    for part in ("expected", "found", *parts):
        assert part in message
    assert "\n" not in message and ". " not in message
    assert len(message.rsplit(": ", 1)[1].split()) >= 3, "no way out"


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), shuffle=st.booleans(), epoch=st.integers(0, 2**64 - 1))
def test_an_epoch_has_every_example_once_and_only_the_last_batch_is_short(n, batch_size, shuffle, epoch):
    loader = DataLoader(numbered(n), batch_size, shuffle=shuffle)
    batches = indices(loader.epoch(epoch))
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(n))
    assert len(loader) == len(batches) == -(-n // batch_size)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 40), shuffle=st.booleans())
def test_drop_last_drops_the_short_batch_and_nothing_else(n, batch_size, shuffle):
    batch_size = min(n, batch_size)
    loader = DataLoader(numbered(n), batch_size, shuffle=shuffle, drop_last=True)
    every_batch = indices(DataLoader(numbered(n), batch_size, shuffle=shuffle).epoch(3))
    batches = indices(loader.epoch(3))
    assert batches == [batch for batch in every_batch if len(batch) == batch_size]
    assert len(loader) == len(batches) == n // batch_size


def test_x_and_y_are_of_the_same_examples():
    for x, y in DataLoader(numbered(10), 3, shuffle=True):
        np.testing.assert_array_equal(x.ravel(), y)


def test_without_shuffle_the_order_is_that_of_the_data_set_in_every_epoch():
    loader = DataLoader(numbered(5), 2)
    for _ in range(2):
        assert indices(loader) == [[0, 1], [2, 3], [4]]


def test_the_oracle_knows_the_published_words():
    """The known answer of Random123 for philox4x32-10 with counter and key zero."""
    assert philox(0, 0, 4) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("seed, epoch", [(0, 0), (0, 1), (1, 0), (2**64 - 1, 2**33 + 5), (123, 4)])
def test_the_shuffled_order_is_that_of_philox_words(seed, epoch):
    words = philox(seed, epoch, 1000)
    expected = sorted(range(1000), key=lambda index: words[index])  # sorted() is stable
    loader = DataLoader(numbered(1000), 64, shuffle=True, seed=seed)
    assert flat(loader.epoch(epoch)) == expected


def test_equal_words_keep_the_order_of_the_data_set(monkeypatch):
    words = np.tile(np.array([3, 1, 2, 1], np.uint32), 50)
    monkeypatch.setattr("minicnn.data.loader.random_bits", lambda seed, call, n: words[:n])
    order = DataLoader(numbered(200), 7, shuffle=True).order(0)
    assert order.tolist() == sorted(range(200), key=lambda index: words[index])


def test_the_order_depends_on_seed_and_epoch_and_not_on_the_batches():
    def order(epoch=0, **options):
        return flat(DataLoader(numbered(100), shuffle=True, **options).epoch(epoch))

    assert order(batch_size=7) == order(batch_size=100)
    assert order(batch_size=7) != order(batch_size=7, epoch=1)
    assert order(batch_size=7) != order(batch_size=7, seed=1)
    assert order(batch_size=7, epoch=1) != order(batch_size=7, seed=1)
    assert order(batch_size=7) != list(range(100))


def test_a_shuffle_mixes_evenly():
    """Over 400 epochs each of 8 examples comes first about 50 times: the chance of fewer than 25 is 10⁻⁴."""
    loader = DataLoader(numbered(8), 8, shuffle=True)
    firsts = [loader.order(epoch)[0] for epoch in range(400)]
    assert np.bincount(firsts, minlength=8).min() >= 25


def test_each_loop_runs_the_next_epoch():
    loader = DataLoader(numbered(50), 8, shuffle=True, seed=5)
    epochs = [indices(loader), indices(loader), indices(loader)]
    assert epochs == [indices(loader.epoch(number)) for number in range(3)]
    assert loader.next_epoch == 3


def test_asking_for_an_epoch_leaves_the_count_alone():
    loader = DataLoader(numbered(50), 8, shuffle=True)
    list(loader.epoch(9))
    assert indices(loader) == indices(loader.epoch(0))


def test_a_loop_that_is_left_early_has_used_its_epoch():
    loader = DataLoader(numbered(50), 8, shuffle=True)
    for _ in loader:
        break
    assert indices(loader) == indices(loader.epoch(1))


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 9), drop_last=st.booleans(), start_at=st.data())
def test_an_interrupted_epoch_resumes_where_it_stopped(n, batch_size, drop_last, start_at):
    batch_size = min(n, batch_size)
    loader = DataLoader(numbered(n), batch_size, shuffle=True, drop_last=drop_last)
    start = start_at.draw(st.integers(0, len(loader)))
    again = DataLoader(numbered(n), batch_size, shuffle=True, drop_last=drop_last)
    assert indices(again.epoch(2, start=start)) == indices(loader.epoch(2))[start:]


def test_an_epoch_is_a_generator_that_loads_one_batch_at_a_time():
    asked = []

    class Watched(ArrayDataset):
        def batch(self, chosen):
            asked.append(len(chosen))
            return super().batch(chosen)

    epoch = DataLoader(Watched(np.zeros((10, 1)), np.zeros(10, int), ["a"]), 4).epoch(0, start=1)
    assert inspect.isgenerator(epoch) and asked == []
    next(epoch)
    assert asked == [4]
    next(epoch)
    assert asked == [4, 2]


@pytest.mark.parametrize("integer", [np.int64, np.uint8])
def test_numpy_integers_are_integers(integer):
    loader = DataLoader(numbered(5), integer(2), seed=integer(3))
    assert indices(loader.epoch(integer(1), start=integer(2))) == [[4]]


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", None, True])
def test_a_batch_size_that_is_no_size_is_refused(value):
    refused(lambda: DataLoader(numbered(5), value), "batch_size", "at least 1", repr(value))


@pytest.mark.parametrize("value", [-1, 2**64, 0.5, None])
def test_a_seed_that_is_no_key_is_refused(value):
    refused(lambda: DataLoader(numbered(5), 2, seed=value), "seed", repr(value))


@pytest.mark.parametrize("value", [-1, 2**64, 0.5])
def test_an_epoch_that_is_no_count_is_refused_at_the_call(value):
    refused(lambda: DataLoader(numbered(5), 2).epoch(value), "epoch", repr(value))


@pytest.mark.parametrize("value", [-1, 4, 1.0])
def test_a_start_outside_of_the_epoch_is_refused_at_the_call(value):
    refused(lambda: DataLoader(numbered(5), 2).epoch(0, start=value), "start", "0 to 3", repr(value))


def test_loaders_without_a_batch_are_refused():
    refused(lambda: DataLoader(numbered(5)[:0], 2), "empty")
    refused(lambda: DataLoader(numbered(5), 6, drop_last=True), "5 examples", "drop_last=False")
