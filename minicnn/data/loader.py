"""DataLoader: a data set, cut into batches, in an order that anyone can compute again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import DataError
from ..kernels.reference import random_bits
from .dataset import Dataset, whole_number


class DataLoader:
    """Batches (x, y) of a data set: N examples in ⌈N / batch_size⌉ batches, or ⌊N / batch_size⌋ with drop_last.

    dataset: anything with len() and batch(indices), and at_epoch(epoch) if it is another one in each epoch, as an
    Augmented data set is. The last batch is the short one, if batch_size does not divide N.
    shuffle: a new order each epoch, which depends on nothing but (seed, epoch, N): see order().
    `for x, y in loader` runs epoch 0, the next such loop epoch 1, and so on (next_epoch is the count);
    loader.epoch(e) runs epoch e and leaves the count alone.
    Raises DataError if a number is out of range, the data set is empty, or drop_last would leave no batch.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, shuffle: bool = False, seed: int = 0, drop_last: bool = False
    ):
        self.dataset = dataset
        self.batch_size = whole_number("DataLoader batch_size", batch_size, 1)
        self.seed = whole_number("DataLoader seed", seed, 0, 2**64 - 1)  # the key of Philox has 64 bits
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.next_epoch = 0
        if len(dataset) == 0:
            raise DataError(
                "DataLoader: expected a data set with at least one example, found an empty one: "
                "check the slice or the folder it was made from"
            )
        if len(self) == 0:
            raise DataError(
                f"DataLoader: expected at least one full batch of {self.batch_size}, found {len(dataset)} examples, "
                "all of which drop_last=True drops: take a smaller batch_size, or drop_last=False"
            )

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full if self.drop_last or rest == 0 else full + 1

    def order(self, epoch: int) -> np.ndarray:
        """The N indices in the order of this epoch (int64): sort the examples by one random 32-bit word each.

        The words are Philox4x32-10 with key = seed and counter = epoch, and the sort is stable, so equal words (about
        N² / 2³³ pairs) have an order too: the result is the same for every NumPy, device and number of threads.
        """
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count)
        return np.argsort(random_bits(self.seed, epoch, count), kind="stable")

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of one epoch, from batch number `start` on: a run stopped after k batches resumes at start=k.

        epoch ≥ 0; 0 ≤ start ≤ len(loader), where start = len(loader) gives no batch. Raises DataError otherwise.
        """
        epoch = whole_number("DataLoader epoch", epoch, 0, 2**64 - 1)
        start = whole_number("DataLoader start", start, 0, len(self))
        return self._batches(epoch, start)  # a generator of its own: the checks above run now, not at the first batch

    def _batches(self, epoch: int, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = self.order(epoch)
        dataset = self.dataset.at_epoch(epoch) if hasattr(self.dataset, "at_epoch") else self.dataset
        for number in range(start, len(self)):
            first = number * self.batch_size
            yield dataset.batch(order[first : first + self.batch_size])

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch = self.next_epoch
        self.next_epoch += 1
        return self.epoch(epoch)
