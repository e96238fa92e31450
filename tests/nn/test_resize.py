"""nn.Upsample: PyTorch's arguments, and what it says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor, nn
from minicnn.errors import ArgumentError

X = Tensor(np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3))


def test_sizes():
    assert nn.Upsample(scale_factor=2)(X).shape == (1, 2, 4, 6)
    assert nn.Upsample(scale_factor=(1, 1.5), mode="bilinear", align_corners=True)(X).shape == (1, 2, 2, 4)
    assert nn.Upsample(5)(X).shape == (1, 2, 5, 5)
    assert nn.Upsample((1, 7), mode="bilinear")(X).shape == (1, 2, 1, 7)
    assert list(nn.Upsample(5).state_dict()) == []


def test_it_is_a_layer():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Upsample(scale_factor=3, mode="bilinear"))
    model(X).sum().backward()
    # each input pixel is spread over outputs whose shares add up to 9 of them, so that the bias counts all 6 · 9
    np.testing.assert_allclose(model[0].bias.grad.data, 54, rtol=1e-6)


def test_it_says_what_it_does():
    assert "×2, nearest" in repr(nn.Upsample(scale_factor=2))
    assert "to (3, 4), bilinear, corners aligned" in repr(nn.Upsample((3, 4), mode="bilinear", align_corners=True))


def test_errors_know_the_layer():
    with pytest.raises(ArgumentError, match=r"Upsample .*either size or scale_factor"):
        nn.Upsample()(X)
