"""ResNeXt: the 3 × 3 convolution of a bottleneck is split into groups, and there are more channels for the same price.

Xie, Girshick, Dollár, Tu and He 2017, "Aggregated residual transformations for deep neural networks", CVPR, arXiv
1611.05431, figure 3 (c) and table 1. "32x4d" is 32 groups ("cardinality") of 4 channels in the first stage; the width
of groups doubles from stage to stage. The stride stands in the 3 × 3, as in the authors' code. Those for ImageNet have
torchvision's names. ResNeXt-29 (section 5.3) has three stages for images of 32 × 32 and begins with a 3 × 3
convolution of 64 channels; 8x64d has 34.4 million parameters, 16x64d 68.2 million.
"""

from __future__ import annotations

from .registry import register_rows
from .resnet import Bottleneck, Row, build_resnet

ROWS = {
    "resnext50_32x4d": Row(Bottleneck, (3, 4, 6, 3), groups=32, base_width=4),
    "resnext101_32x4d": Row(Bottleneck, (3, 4, 23, 3), groups=32, base_width=4),
    "resnext101_32x8d": Row(Bottleneck, (3, 4, 23, 3), groups=32, base_width=8),
    "resnext101_64x4d": Row(Bottleneck, (3, 4, 23, 3), groups=64, base_width=4),
}
CIFAR_ROWS = {
    "resnext29_8x64d": Row(Bottleneck, (3, 3, 3), groups=8, base_width=64),
    "resnext29_16x64d": Row(Bottleneck, (3, 3, 3), groups=16, base_width=64),
}
register_rows(ROWS, build_resnet, input_shape=(3, 224, 224), family="resnext")
register_rows(CIFAR_ROWS, build_resnet, input_shape=(3, 32, 32), family="resnext", num_classes=10, stem="cifar")
