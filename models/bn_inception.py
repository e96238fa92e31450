"""BN-Inception: GoogLeNet with batch normalisation, which made it as accurate in a fourteenth of the steps.

Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
ICML, arXiv 1502.03167, section 4.2 and the table in its appendix (figure 5).

The idea: the inputs of a layer change their distribution while the layers before it learn. Normalise them by the
statistics of the batch, let a learnt scale and shift undo that where it is not wanted, and much larger learning rates
become possible; dropout and local response normalisation become needless.

What differs from GoogLeNet besides: 5 × 5 is two 3 × 3 in a row; two modules (3c, 4e) halve the size themselves, with
stride 2 in the last 3 × 3 of each branch beside a max pool; modules average in the pool branch, but for 5b.

Other networks of this name: Caffe's has biases before batch norm and 608 channels behind 4c and 4d, where the table
has 576; slim's inception_v2 has a separable 7 × 7, which the paper mentions for its own runs but not in its table.
"Inception-v2" is also what the paper of Inception-v3 calls a step on its way.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from minicnn import Tensor
from minicnn.errors import ShapeError
from minicnn.nn import AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, ReLU, Sequential

from .branches import Branches, Conv, Steps
from .network import Network
from .registry import register


class Row(NamedTuple):
    """Channels of one module: 1×1; 3×3 after its reduction; two 3×3 after theirs; the pool and the 1×1 behind it.

    No 1×1 (0) and nothing behind the pool: the module has stride 2, and the pool passes all channels on.
    """

    one: int
    reduce_three: int
    three: int
    reduce_double: int
    double: int
    pool: type
    projection: int


TABLE = {
    "i3a": Row(64, 64, 64, 64, 96, AvgPool2d, 32),
    "i3b": Row(64, 64, 96, 64, 96, AvgPool2d, 64),
    "i3c": Row(0, 128, 160, 64, 96, MaxPool2d, 0),
    "i4a": Row(224, 64, 96, 96, 128, AvgPool2d, 128),
    "i4b": Row(192, 96, 128, 96, 128, AvgPool2d, 128),
    "i4c": Row(160, 128, 160, 128, 160, AvgPool2d, 96),
    "i4d": Row(96, 128, 192, 160, 192, AvgPool2d, 96),
    "i4e": Row(0, 128, 192, 192, 256, MaxPool2d, 0),
    "i5a": Row(352, 192, 320, 160, 224, AvgPool2d, 128),
    "i5b": Row(352, 192, 320, 192, 224, MaxPool2d, 128),
}


def unit(in_channels: int, out_channels: int, kernel_size: Any, stride: int = 1, padding: Any = 0) -> Sequential:
    """Convolution, batch norm, ReLU. No bias: the batch's mean would take it away again (section 3.2)."""
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
    return Sequential(conv, BatchNorm2d(out_channels, eps=1e-3), ReLU())


def inception(in_channels: int, row: Row) -> Branches:
    """One module of the table, its branches b1 to b4; b1 is missing where the module has stride 2."""
    stride = 1 if row.one else 2
    rows: dict[str, Steps] = {"b1": (Conv(row.one),)} if row.one else {}
    rows["b2"] = Conv(row.reduce_three), Conv(row.three, 3, stride, padding=1)
    rows["b3"] = Conv(row.reduce_double), Conv(row.double, 3), Conv(row.double, 3, stride, padding=1)
    if row.one:
        rows["b4"] = partial(row.pool, 3, stride=1, padding=1), Conv(row.projection)
    else:
        rows["b4"] = (partial(row.pool, 3, stride=2, ceil_mode=True),)
    return Branches(in_channels, rows, unit)


class BNInception(Network):
    """Stem, the ten modules of the table, global average pool, one linear layer."""

    stages = ("stem.0", "stem.3", "i3b", "i4d", "i5b")

    def __init__(self, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        self.stem = Sequential(
            unit(in_channels, 64, 7, stride=2, padding=3), MaxPool2d(3, stride=2, ceil_mode=True),
            unit(64, 64, 1), unit(64, 192, 3, padding=1), MaxPool2d(3, stride=2, ceil_mode=True),
        )  # fmt: skip
        channels = 192
        for name, row in TABLE.items():
            module = inception(channels, row)
            self.add_module(name, module)
            channels = module.out_channels
        self.avgpool = AdaptiveAvgPool2d(1)
        self.dropout = Dropout(dropout)
        self.fc = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if any(size % 4 for size in x.shape[2:]):
            error = ShapeError(
                f"3c and 4e halve only even sizes, so maps behind the stem need multiples of 4, got {x.shape}"
            )
            error.advice = "use images whose sides are multiples of 32"
            raise error
        for name in TABLE:
            x = getattr(self, name)(x)
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))


@register(input_shape=(3, 224, 224), family="inception")
def bn_inception(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> BNInception:
    """BN-Inception by the paper's table: 11,194,984 parameters. The paper does without dropout."""
    return BNInception(num_classes, in_channels, dropout)
