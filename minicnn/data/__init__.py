"""Data: files become arrays (idx), arrays become a data set (dataset, mnist), a data set becomes batches (loader)."""

from .dataset import ArrayDataset, Dataset
from .idx import read_idx, write_idx
from .loader import DataLoader
from .mnist import MNIST

__all__ = ["MNIST", "ArrayDataset", "DataLoader", "Dataset", "read_idx", "write_idx"]
