"""cpu/products.py: products of NumPy's BLAS, and how many of its threads they leave behind."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from minicnn.kernels.cpu import products, threads


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return [
        library.get_num_threads() for library in ThreadpoolController().lib_controllers if library.user_api == "blas"
    ]


@pytest.mark.parametrize("size", [3, 300])
def test_the_process_keeps_the_blas_threads_it_had(size):
    """A small product uses one thread and a large one all: the user's own NumPy must notice neither."""
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(2)
        expected = blas_threads()
        assert expected and all(count == 2 for count in expected)
        a = np.random.default_rng(0).normal(size=(size, size))
        np.testing.assert_allclose(products.matmul(a, a), a @ a, rtol=1e-12)
        assert blas_threads() == expected
        with pytest.raises(ValueError):
            products.matmul(a, a[:-1])
        assert blas_threads() == expected
    finally:
        threads.set_num_threads(before)
