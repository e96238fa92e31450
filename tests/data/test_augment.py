"""Augmentation pixel by pixel in plain Python, from random words that plain Python makes again."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.data import ArrayDataset, Augmented, DataLoader, Normalize, RandomCrop, RandomHorizontalFlip
from minicnn.errors import DataError

from .test_loader import philox, refused


def coloured(n=11, size=(5, 7), channels=2):
    """Images of numbers that are all different."""
    x = 1 + np.arange(n * channels * size[0] * size[1], dtype=np.float32).reshape(n, channels, *size)
    return ArrayDataset(x, np.arange(n), classes=[""] * n)


def words_of(seed, epoch, n, width):
    words = philox(seed, 2**63 + epoch, n * width)
    return [words[i * width : (i + 1) * width] for i in range(n)]


def cropped(image, top, left, padding, mode):
    """Pixel (i, j) is that of the old image at (i + top − padding, j + left − padding)."""
    _, h, w = image.shape
    y = np.zeros_like(image)
    for i in range(h):
        for j in range(w):
            r, s = i + top - padding, j + left - padding
            if mode == "reflect":  # …2 1 0 1 2 3 2 1…
                r, s = abs(r), abs(s)
                r, s = (2 * (h - 1) - r if r >= h else r), (2 * (w - 1) - s if s >= w else s)
            if 0 <= r < h and 0 <= s < w:
                y[:, i, j] = image[:, r, s]
    return y


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_crops_and_flips_are_those_of_the_words(mode, padding):
    """Three words for an example: where the crop begins, above and left, then whether it is mirrored."""
    plain, seed, epoch = coloured(), 5, 3
    data = Augmented(plain, RandomCrop(padding, mode), RandomHorizontalFlip(0.4), seed=seed)
    data.batch([0])
    chosen = [7, 0, 10, 7, *range(1, 10)]
    x, y = data.at_epoch(epoch).batch(chosen)
    words = words_of(seed, epoch, 11, 3)
    assert y.tolist() == chosen and x.dtype == np.float32
    for image, index in zip(x, chosen, strict=True):
        top, left = (word * (2 * padding + 1) // 2**32 for word in words[index][:2])
        expected = cropped(plain.images[index], top, left, padding, mode)
        np.testing.assert_array_equal(image, expected[:, :, ::-1] if words[index][2] < 0.4 * 2**32 else expected)


def test_an_example_does_not_depend_on_its_batch_or_on_where_a_run_resumes():
    data = Augmented(coloured(), RandomCrop(2), RandomHorizontalFlip(), seed=1)
    seen = {}
    for batch_size, shuffle, start in ((11, False, 0), (3, True, 0), (4, True, 1), (1, False, 5)):
        for x, y in DataLoader(data, batch_size, shuffle, seed=9).epoch(4, start):
            for image, label in zip(x, y.tolist(), strict=True):
                np.testing.assert_array_equal(image, seen.setdefault(label, image))
    assert len(seen) == 11


def test_epochs_and_seeds_differ():
    def epoch(number, seed=0):
        data = Augmented(coloured(), RandomCrop(2), RandomHorizontalFlip(), seed=seed)
        return np.concatenate([x for x, _ in DataLoader(data, 4).epoch(number)])

    first = epoch(0)
    np.testing.assert_array_equal(epoch(0), first)
    for other in (epoch(1), epoch(0, seed=1)):
        assert (other != first).any(axis=(1, 2, 3)).mean() > 0.8
    loader = DataLoader(Augmented(coloured(), RandomCrop(2), seed=3), 11)
    once, twice = (next(iter(loader))[0] for _ in range(2))
    assert (once != twice).any(), "the loader does not tell which epoch it is"


def test_what_is_drawn_is_drawn_evenly():
    """2,000 examples of one pixel each: 25 places of the crop, about 80 each, and a quarter of them mirrored."""
    x = np.zeros((2000, 1, 5, 5), np.float32)
    x[:, 0, 2, 2] = 1
    data = Augmented(ArrayDataset(x, np.zeros(2000, int), [""]), RandomCrop(2), seed=7)
    places = data.batch(np.arange(2000))[0].reshape(2000, 25)
    assert (places.sum(axis=1) == 1).all()
    assert places.sum(axis=0).min() > 50 and places.sum(axis=0).max() < 115
    x[:, 0, 2, 3] = 2
    flipped = Augmented(ArrayDataset(x, np.zeros(2000, int), [""]), RandomHorizontalFlip(0.25), seed=7)
    assert 0.22 < (flipped.batch(np.arange(2000))[0][:, 0, 2, 1] == 2).mean() < 0.28
    for p, share in ((0, 0.0), (1, 1.0)):
        always = Augmented(ArrayDataset(x, np.zeros(2000, int), [""]), RandomHorizontalFlip(p))
        assert (always.batch(np.arange(2000))[0][:, 0, 2, 1] == 2).mean() == share


def test_flips_do_not_go_with_the_places_in_an_epoch():
    """With one stream for both, an epoch would begin with all that is mirrored."""
    x = np.broadcast_to(np.array([1, 2], np.float32), (64, 1, 1, 2))
    data = Augmented(ArrayDataset(x, np.zeros(64, int), [""]), RandomHorizontalFlip(), seed=5)
    (batch, _) = next(iter(DataLoader(data, 64, shuffle=True, seed=5)))
    mirrored = batch[:, 0, 0, 0] == 2
    assert 16 < mirrored.sum() < 48 and np.diff(mirrored.astype(int)).any(where=np.arange(63) < mirrored.sum() - 8)


def test_data_and_batches_are_left_as_they_are():
    plain = coloured()
    before = plain.images.copy()
    x, _ = Augmented(plain, RandomHorizontalFlip(0.0)).batch([1, 2])
    x[...] = 0
    np.testing.assert_array_equal(plain.images, before)
    assert len(Augmented(plain, RandomCrop(1))) == 11


def test_normalize_gives_channels_first_and_their_mean_and_deviation():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), np.uint8)
    x = Normalize([0.25, 0.5], [0.5, 0.125])(images)
    assert x.shape == (3, 2, 4, 5) and x.dtype == np.float32
    for n, c, i, j in np.ndindex(3, 2, 4, 5):
        expected = (int(images[n, i, j, c]) / 255 - [0.25, 0.5][c]) / [0.5, 0.125][c]
        assert x[n, c, i, j] == pytest.approx(expected, abs=1e-5)
    grey = Normalize(0.5, 0.5)(images[..., 0])
    np.testing.assert_allclose(grey[:, 0], images[..., 0] / 127.5 - 1, atol=1e-6)


def test_nonsense_is_refused():
    flat = ArrayDataset(np.zeros((4, 6), np.float32), np.zeros(4, int), [""])
    refused(lambda: Augmented(coloured()), "steps")
    refused(lambda: Augmented(coloured(), RandomCrop(1), seed=-1), "seed")
    refused(lambda: Augmented(flat, RandomCrop(1)).batch([0]), "(1, 6)")
    refused(lambda: Augmented(coloured(), RandomCrop(1)).at_epoch(-1), "epoch")
    refused(lambda: Augmented(coloured(), RandomCrop(5, "reflect")).batch([0]), "5 × 7")
    refused(lambda: RandomCrop(-1), "padding")
    refused(lambda: RandomCrop(1, "wrap"), "wrap")
    refused(lambda: RandomHorizontalFlip(1.5), "1.5")
    refused(lambda: RandomHorizontalFlip("0.5"), "probability")
    refused(lambda: Normalize([0.5], [0.5, 0.5]), "std")
    refused(lambda: Normalize(0.5, 0.0), "positive")
    refused(lambda: Normalize(0.5, np.nan), "positive")
    refused(lambda: Normalize(0.5, 0.5)(np.zeros((2, 3, 3, 3), np.uint8)), "(2, 3, 3, 3)")
    refused(lambda: Normalize(0.5, 0.5)(np.zeros((2, 3, 3), np.float32)), "float32")
    with pytest.raises(DataError):
        Augmented(coloured(), RandomCrop(1)).batch([[0]])
