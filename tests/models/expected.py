"""How many parameters and multiply-adds each network has: facts that were counted elsewhere.

Sources: torchvision 0.29.1 and timm 1.0.31, instantiated and counted; "paper": an independent definition from the
paper's text, where no library has the network. Multiply-adds are those of convolutions and linear layers, for one image
of the network's own size, in evaluation (no auxiliary heads). Published figures differ where they count other ops too.
"""

from __future__ import annotations

from typing import NamedTuple


class Expected(NamedTuple):
    """params: as built by default, with the auxiliary heads where the paper has them; main: without these."""

    params: int
    main: int
    macs: int
    source: str


def row(params: int, macs: int, source: str, main: int | None = None) -> Expected:
    return Expected(params, main or params, macs, source)


EXPECTED = {
    "lenet5_1998": row(60_000, 325_680, "paper"),
    "lenet5": row(61_706, 416_520, "paper"),
    "alexnet_2012": row(60_965_224, 724_406_816, "paper"),
    "alexnet": row(61_100_840, 714_188_480, "torchvision"),
    "zfnet": row(62_357_608, 1_168_032_896, "paper"),
    "nin": row(7_595_176, 1_105_996_320, "paper"),
    "nin_cifar": row(966_986, 222_486_528, "paper"),
    "vgg11": row(132_863_336, 7_609_090_048, "torchvision"),
    "vgg11_bn": row(132_868_840, 7_609_090_048, "torchvision"),
    "vgg13": row(133_047_848, 11_308_466_176, "torchvision"),
    "vgg13_bn": row(133_053_736, 11_308_466_176, "torchvision"),
    "vgg16": row(138_357_544, 15_470_264_320, "torchvision"),
    "vgg16_bn": row(138_365_992, 15_470_264_320, "torchvision"),
    "vgg19": row(143_667_240, 19_632_062_464, "torchvision"),
    "vgg19_bn": row(143_678_248, 19_632_062_464, "torchvision"),
    "googlenet_2014": row(13_378_280, 1_582_671_872, "paper", main=6_998_552),
    "googlenet": row(13_004_888, 1_498_376_192, "torchvision", main=6_624_904),
    "bn_inception": row(11_194_984, 2_018_851_840, "paper"),
    "inception_v3": row(27_161_264, 5_713_216_096, "torchvision", main=23_834_568),
    "inception_v4": row(42_679_816, 12_253_974_624, "timm"),
    "inception_resnet_v1": row(22_756_328, 6_206_361_696, "paper"),
    "inception_resnet_v2": row(55_843_464, 13_155_794_016, "timm"),
    "xception": row(22_855_952, 8_357_403_496, "timm"),
    "squeezenet1_0": row(1_248_424, 818_924_576, "torchvision"),
    "squeezenet1_1": row(1_235_496, 349_151_936, "torchvision"),
    "resnet18": row(11_689_512, 1_814_073_344, "torchvision"),
    "resnet34": row(21_797_672, 3_663_761_408, "torchvision"),
    "resnet50": row(25_557_032, 4_089_184_256, "torchvision"),
    "resnet101": row(44_549_160, 7_801_405_440, "torchvision"),
    "resnet152": row(60_192_808, 11_513_626_624, "torchvision"),
    "resnet20_cifar": row(269_722, 40_551_040, "paper"),
    "resnet32_cifar": row(464_154, 68_862_592, "paper"),
    "resnet44_cifar": row(658_586, 97_174_144, "paper"),
    "resnet56_cifar": row(853_018, 125_485_696, "paper"),
    "resnet110_cifar": row(1_727_962, 252_887_680, "paper"),
    "resnet1202_cifar": row(19_421_274, 2_829_238_912, "paper"),
    "preact_resnet110_cifar": row(1_727_962, 252_887_680, "paper"),
    "preact_resnet20_cifar": row(269_722, 40_551_040, "paper"),  # those of resnet20_cifar, in another order
    "preact_resnet164_cifar": row(1_703_258, 247_646_720, "paper"),
    "preact_resnet1001_cifar": row(10_327_706, 1_490_995_712, "paper"),
    "resnet_v2_50": row(25_549_352, 4_089_184_256, "timm"),
    "resnet_v2_101": row(44_541_480, 7_801_405_440, "timm"),
    "resnet_v2_152": row(60_185_128, 11_513_626_624, "timm"),
    "wrn_16_8": row(10_961_370, 1_548_145_664, "paper"),
    "wrn_28_10": row(36_479_194, 5_243_328_768, "paper"),
    "wrn_40_4": row(8_949_210, 1_298_582_016, "paper"),
    "wide_resnet50_2": row(68_883_240, 11_398_021_120, "torchvision"),
    "wide_resnet101_2": row(126_886_696, 22_753_050_624, "torchvision"),
    "resnext50_32x4d": row(25_028_904, 4_230_479_872, "torchvision"),
    "resnext101_32x4d": row(44_177_704, 7_969_996_800, "timm"),
    "resnext101_32x8d": row(88_791_336, 16_414_015_488, "torchvision"),
    "resnext101_64x4d": row(83_455_272, 15_460_270_080, "torchvision"),
    "resnext29_8x64d": row(34_426_698, 5_387_266_048, "paper"),
    "resnext29_16x64d": row(68_155_210, 10_688_866_304, "paper"),
    "seresnet50": row(28_088_024, 4_091_699_200, "timm"),
    "seresnext50_32x4d": row(27_559_896, 4_232_994_816, "timm"),
    "densenet121": row(7_978_856, 2_834_161_664, "torchvision"),
    "densenet161": row(28_681_000, 7_727_907_072, "torchvision"),
    "densenet169": row(14_149_480, 3_359_843_328, "torchvision"),
    "densenet201": row(20_013_928, 4_291_365_888, "torchvision"),
    "densenet_40_12": row(1_019_722, 264_812_928, "paper"),
    "densenet_100_12": row(6_979_642, 1_769_516_448, "paper"),
    "densenet_bc_100_12": row(769_162, 287_929_692, "paper"),
    "densenet_bc_250_24": row(15_324_406, 5_418_785_724, "paper"),
    "densenet_bc_190_40": row(25_624_430, 9_301_945_740, "paper"),
    "mobilenetv1_100": row(4_231_976, 568_740_352, "timm"),
    "mobilenet_v2": row(3_504_872, 300_774_272, "torchvision"),
    "mobilenet_v3_large": row(5_483_032, 216_589_760, "torchvision"),
    "mobilenet_v3_small": row(2_542_856, 56_510_400, "torchvision"),
    "efficientnet_b0": row(5_288_548, 385_814_752, "torchvision"),
    "efficientnet_b1": row(7_794_184, 686_802_832, "torchvision"),
    "efficientnet_b2": row(9_109_994, 993_561_872, "torchvision"),
    "efficientnet_b3": row(12_233_232, 1_827_141_392, "torchvision"),
    "efficientnet_b4": row(19_341_616, 4_393_771_024, "torchvision"),
    "efficientnet_b5": row(30_389_784, 10_266_384_752, "torchvision"),
    "efficientnet_b6": row(43_040_704, 19_067_593_536, "torchvision"),
    "efficientnet_b7": row(66_347_960, 37_745_884_192, "torchvision"),
    "efficientnet_lite0": row(4_652_008, 385_187_552, "timm"),
    "efficientnet_lite1": row(5_416_680, 600_185_232, "timm"),
    "efficientnet_lite2": row(6_092_072, 859_736_272, "timm"),
    "efficientnet_lite3": row(8_197_096, 1_383_321_872, "timm"),
    "efficientnet_lite4": row(13_006_568, 2_553_034_336, "timm"),
    "efficientnet_v2_s": row(21_458_488, 8_365_617_152, "torchvision"),
    "efficientnet_v2_m": row(54_139_356, 24_582_460_384, "torchvision"),
    "efficientnet_v2_l": row(118_515_272, 56_079_699_008, "torchvision"),
    "mixnet_s": row(4_134_606, 239_173_360, "timm"),
    "mixnet_m": row(5_014_382, 339_172_672, "timm"),
    "mixnet_l": row(7_329_252, 555_251_792, "timm"),
}

# torchvision's resnet50 with each stride moved from the 3×3 to the 1×1 before it, counted.
EXPECTED["resnet50_2015"] = row(25_557_032, 3_857_973_248, "torchvision, strides moved")

# The same layers with TensorFlow's padding: as many parameters; "same" pads so that the sizes stay equal, too.
for _name in [name for name in EXPECTED if name.startswith(("efficientnet_b", "mixnet_"))]:
    EXPECTED[f"tf_{_name}"] = EXPECTED[_name]._replace(source="timm")
