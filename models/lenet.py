"""LeNet-5, as published in 1998 and as it is built today.

LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", Proceedings of the
IEEE 86(11), section II.B and figure 2. Both take images of 32 × 32: MNIST's 28 × 28 with a border of two.
"""

from __future__ import annotations

import numpy as np

from minicnn import Tensor, ops
from minicnn.errors import ArgumentError
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, Parameter, ParameterList, ReLU, Sequential, init

from .network import Network
from .registry import register

# Table I of the paper: which of S2's six maps each of C3's sixteen maps is connected to.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
    (0, 1, 3, 4), (1, 2, 4, 5), (2, 3, 5, 0), (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# The targets of F6: stylised digits of 7 × 12 pixels, as in figure 3 of the paper (drawn anew here), ink = +1.
BITMAPS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...##..  ..###..  .#####.  ....##.  .#####.  ...###.  .#####.  ..###..  ..###..
.##.##.  ..###..  .##.##.  ....##.  ...###.  .##....  ..##...  .##.##.  .##.##.  .##.##.
##...##  .####..  ##...##  ...##..  ...###.  .##....  .##....  ....##.  ##...##  ##...##
##...##  ...##..  .....##  ..##...  ..####.  .####..  .##....  ....##.  .##.##.  ##...##
##...##  ...##..  ....##.  ..###..  .##.##.  ...###.  .#####.  ...##..  ..###..  .##.###
##...##  ...##..  ...##..  ....##.  .##.##.  ....##.  .##..##  ...##..  ..###..  ..###.#
##...##  ...##..  ..##...  .....##  #######  .....##  ##...##  ..##...  .##.##.  .....##
##...##  ...##..  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ...##..  .##....  ##..##.  ....##.  ##..##.  .##.##.  ..##...  .##.##.  ....##.
..###..  .######  #######  .####..  ....##.  .####..  ..###..  ..##...  ..###..  .###...
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def rbf_codes() -> np.ndarray:
    """The ten bitmaps as rows of ±1, (10, 84)."""
    rows = [line.split() for line in BITMAPS.split("\n") if line]
    digits = ["".join(row[digit] for row in rows) for digit in range(10)]
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in digit] for digit in digits], np.float32)


class Subsampling(Module):
    """y = squash(coef · mean of each 2 × 2 patch + bias), one coef and bias per map.

    The paper multiplies the sum of the four, which is the same family with coef / 4.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.coef = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ops.scaled_tanh(ops.avg_pool2d(x, 2) * self.coef.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1))


class PartialConv2d(Module):
    """C3: 5 × 5 convolution whose output map k sees only the input maps in table[k]. 60 kernels instead of 96.

    The kernels are placed into a dense weight that is zero where there is no connection; one convolution does the rest.
    """

    def __init__(self, in_channels: int, table: tuple[tuple[int, ...], ...], kernel_size: int):
        super().__init__()
        self.bias = Parameter(np.empty(len(table), np.float32))
        self.w = ParameterList(
            Parameter(np.empty((1, len(inputs), kernel_size, kernel_size), np.float32)) for inputs in table
        )
        self.dense_shape = (len(table), in_channels, kernel_size, kernel_size)
        self.outputs = np.array([k for k, inputs in enumerate(table) for _ in inputs])
        self.inputs = np.array([c for inputs in table for c in inputs])

    def forward(self, x: Tensor) -> Tensor:
        kernels = ops.concat(list(self.w), axis=1).squeeze(0)
        return ops.conv2d(x, ops.add_at(kernels, (self.outputs, self.inputs), self.dense_shape), self.bias)

    def count_macs(self, output_shape: tuple[int, ...]) -> int:
        """The multiply-adds of the 60 kernels that exist, as the paper counts; zeros of the dense weight are none."""
        n, _, p, q = output_shape
        return n * p * q * sum(weight.size for weight in self.w)


class LeNet5Of1998(Network):
    """C1 – S2 – C3 – S4 – C5 – F6 – RBF: 60,000 trainable parameters.

    Output: −Σ (f6 − code)² for each class, the negative of the paper's squared distance, so that the largest wins and
    the outputs can serve as logits. `rbf` holds the ten codes, which are not trained.
    Weights start uniform within ±2.4 / fan_in (paper, appendix A).
    """

    stages = ("s2", "s4", "c5")
    any_channels = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rbf", rbf_codes())
        self.c1 = Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv2d(6, C3_TABLE, 5)
        self.s4 = Subsampling(16)
        self.c5 = Conv2d(16, 120, 5)
        self.f6 = Linear(120, 84)
        for layer in (self.c1, self.c5, self.f6):
            _uniform_by_fan_in(layer.weight, layer.bias)
        for k, weight in enumerate(self.c3.w):
            _uniform_by_fan_in(weight, None)
            bound = 2.4 / (weight.size)
            self.c3.bias.detach()[k] = init.uniform_(Tensor(np.empty(1, np.float32)), -bound, bound)[0]

    def forward(self, x: Tensor) -> Tensor:
        x = self.s2(ops.scaled_tanh(self.c1(x)))
        x = self.s4(ops.scaled_tanh(self.c3(x)))
        x = ops.scaled_tanh(self.c5(x)).flatten(1)
        f6 = ops.scaled_tanh(self.f6(x))
        difference = f6.reshape(-1, 1, f6.shape[1]) - self.rbf
        return -(difference * difference).sum(axis=2)


def _uniform_by_fan_in(weight: Parameter, bias: Parameter | None) -> None:
    bound = 2.4 / init.fans(weight)[0]
    init.uniform_(weight, -bound, bound)
    if bias is not None:
        init.uniform_(bias, -bound, bound)


class MAPLoss(Module):
    """The paper's loss for RBF outputs (equation 9): distance to the right code, plus a penalty for being near others.

        E = mean over images of  d_right + ln(e⁻ʲ + Σ_i e^(−d_i))

    With logits −d this is cross-entropy with one more class, whose logit is the constant −j: a far-off digit may be
    rejected, so classes that are far already are not pushed further.
    """

    def __init__(self, j: float = 0.1):
        super().__init__()
        self.j = j

    def forward(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        rejected = Tensor(np.full((len(logits), 1), -self.j, logits.dtype), device=logits.device)
        return ops.cross_entropy(ops.concat([logits, rejected], axis=1), labels)


class LeNet5(Network):
    """The network people mean today: dense C3, ReLU, max pooling, three linear layers; 61,706 parameters."""

    stages = ("features.2", "features.5")

    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.features = Sequential(
            Conv2d(in_channels, 6, 5), ReLU(), MaxPool2d(2),
            Conv2d(6, 16, 5), ReLU(), MaxPool2d(2), Flatten(),
        )  # fmt: skip
        self.fc1 = Linear(16 * 5 * 5, 120)
        self.fc2 = Linear(120, 84)
        self.fc3 = Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = self.fc1(x, relu=True)  # relu(fc1(x)), in one pass
        x = self.fc2(x, relu=True)
        return self.fc3(x)


@register(input_shape=(1, 32, 32), family="lenet")
def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """Modern LeNet-5 for images (in_channels, 32, 32)."""
    return LeNet5(num_classes, in_channels)


@register(input_shape=(1, 32, 32), family="lenet")
def lenet5_1998(num_classes: int = 10) -> LeNet5Of1998:
    """LeNet-5 as published, for images (1, 32, 32). Its output layer has codes for ten digits and no other classes."""
    if num_classes != 10:
        raise ArgumentError(f"lenet5_1998 has codes for 10 digits, not for {num_classes} classes: use lenet5")
    return LeNet5Of1998()
