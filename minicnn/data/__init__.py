"""Data: files become arrays (idx), arrays become a data set (dataset, mnist), a data set becomes batches (loader), and
its images others of the same things (augment)."""

from .augment import Augmented, Normalize, RandomCrop, RandomHorizontalFlip
from .dataset import ArrayDataset, Dataset
from .idx import read_idx, write_idx
from .loader import DataLoader
from .mnist import MNIST

__all__ = [
    "MNIST", "ArrayDataset", "Augmented", "DataLoader", "Dataset", "Normalize", "RandomCrop", "RandomHorizontalFlip",
    "read_idx", "write_idx",
]  # fmt: skip
