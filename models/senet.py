"""SE-ResNet and SE-ResNeXt: at the end of each branch, what the whole image shows scales the channels.

Hu, Shen, Albanie, Sun and Wu 2018, "Squeeze-and-excitation networks", CVPR, arXiv 1709.01507, section 3 and figure 3:
the scale stands behind the last batch norm and before the sum; its hidden layer has a sixteenth of the channels
(r = 16). Names as timm's. The stride of a bottleneck stands in the 3 × 3, as there; the authors' SE-ResNet-50 for Caffe
has it in the first 1 × 1.
"""

from __future__ import annotations

from .blocks import SqueezeExcitation
from .registry import register_rows
from .resnet import Bottleneck, Row, build_resnet


def squeeze(channels: int) -> SqueezeExcitation:
    """With r = 16, the paper's choice."""
    return SqueezeExcitation(channels, channels // 16)


ROWS = {
    "seresnet50": Row(Bottleneck, (3, 4, 6, 3), se=squeeze),
    "seresnext50_32x4d": Row(Bottleneck, (3, 4, 6, 3), groups=32, base_width=4, se=squeeze),
}
register_rows(ROWS, build_resnet, input_shape=(3, 224, 224), family="senet")
