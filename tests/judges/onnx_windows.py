"""ONNX's operators on images, said with minicnn.ops: convolution, pooling, resizing. Sequences are images, too."""

from __future__ import annotations

import math

import numpy as np

from minicnn import Tensor, ops
from minicnn import device as devices


def host(tensor):
    """What is in a tensor, as NumPy's, wherever it is."""
    return devices.to_host(tensor.data)


def images(*tensors):
    """Sequences (N, C, L) are images with one row; more than two axes of space we do not have."""
    if any(t is not None and t.ndim > 4 for t in tensors):
        raise NotImplementedError("three axes of space")
    return [t if t is None or t.ndim == 4 else ops.expand_dims(t, 2) for t in tensors]


def two(values, otherwise):
    """For rows and columns, what ONNX gives for each axis of space, if it does."""
    values = list(values or ())
    return (otherwise,) * (2 - len(values)) + tuple(values)


def geometry(x, kernel, auto_pad="NOTSET", pads=None, strides=None, dilations=None, **_):
    """stride, padding and dilation of a window."""
    stride, dilation = two(strides, 1), two(dilations, 1)
    if auto_pad == "SAME_UPPER":
        padding = "same"
    elif auto_pad == "SAME_LOWER":  # as "same", but the odd one at the top or left
        places = [-(-size // s) for size, s in zip(x.shape[2:], stride, strict=True)]
        total = [
            max(0, (p - 1) * s + (k - 1) * d + 1 - size)
            for p, s, k, d, size in zip(places, stride, kernel, dilation, x.shape[2:], strict=True)
        ]
        padding = tuple((t - t // 2, t // 2) for t in total)
    else:
        half = len(pads or ()) // 2
        padding = tuple(zip(two((pads or ())[:half], 0), two((pads or ())[half:], 0), strict=True))
    return {"stride": stride, "padding": padding, "dilation": dilation}


def like_input(x, y):
    return ops.squeeze(y, 2) if x.ndim == 3 else y


def conv(x, w, b=None, *, group=1, **options):
    image, kernel = images(x, w)
    return like_input(x, ops.conv2d(image, kernel, b, groups=group, **geometry(image, kernel.shape[2:], **options)))


def conv_transpose(x, w, b=None, *, group=1, output_shape=None, output_padding=None, auto_pad="NOTSET", **options):
    """What output_shape leaves open, padding fills: an odd one at the end for SAME_UPPER, else at the start."""
    image, kernel = images(x, w)
    window = geometry(image, kernel.shape[2:], **options)
    extra = two(output_padding, 0)
    if auto_pad.startswith("SAME"):
        output_shape = [size * s for size, s in zip(image.shape[2:], window["stride"], strict=True)]
    if output_shape:
        total = [
            (size - 1) * s + e + (k - 1) * d + 1 - wanted
            for size, s, e, k, d, wanted in zip(image.shape[2:], window["stride"], extra, kernel.shape[2:],
                                                window["dilation"], output_shape[-2:], strict=True)
        ]  # fmt: skip
        extra = tuple(max(0, e - t) for e, t in zip(extra, total, strict=True))
        first = [max(0, t) // 2 if auto_pad == "SAME_UPPER" else max(0, t) - max(0, t) // 2 for t in total]
        window["padding"] = tuple((f, max(0, t) - f) for f, t in zip(first, total, strict=True))
    return like_input(x, ops.conv_transpose2d(image, kernel, b, output_padding=extra, groups=group, **window))


def max_pool(x, *, kernel_shape, ceil_mode=0, storage_order=0, outputs, **options):
    (image,) = images(x)
    kernel = two(kernel_shape, 1)
    window = geometry(image, kernel, **options)
    if outputs == 1:
        return like_input(x, ops.max_pool2d(image, kernel, ceil_mode=bool(ceil_mode), **window))
    y, index = ops.max_pool2d(image, kernel, ceil_mode=bool(ceil_mode), return_indices=True, **window)
    if storage_order:  # column by column
        row, column = divmod(host(index), image.shape[3])
        index = Tensor(column * image.shape[2] + row)
    plane = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], 1, 1) * math.prod(x.shape[2:])
    return like_input(x, y), like_input(x, index + plane)  # ONNX counts through the whole tensor


def avg_pool(x, *, kernel_shape, ceil_mode=0, count_include_pad=0, **options):
    (image,) = images(x)
    kernel = two(kernel_shape, 1)
    options = geometry(image, kernel, **options) | {"ceil_mode": bool(ceil_mode)}
    if options.pop("dilation") != (1, 1):
        raise NotImplementedError("averages with gaps")
    return like_input(x, ops.avg_pool2d(image, kernel, count_include_pad=bool(count_include_pad), **options))


def max_unpool(x, indices, output_shape=None, *, kernel_shape, **options):
    """Indices count through the whole tensor of the usual size; a larger output_shape adds zeros at the end."""
    window = geometry(x, kernel_shape, **options)
    size = [(n - 1) * s + k - sum(p) for n, s, k, p in zip(x.shape[2:], window["stride"], kernel_shape,
                                                           window["padding"], strict=True)]  # fmt: skip
    plane = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], 1, 1) * math.prod(size)
    y = ops.max_unpool2d(x, indices - plane, kernel_shape, window["stride"], 0, output_size=size)
    wanted = y.shape if output_shape is None else host(output_shape).tolist()
    return ops.pad(y, [(0, after - before) for before, after in zip(y.shape, wanted, strict=True)])


def resize(x, roi=None, scales=None, sizes=None, *, axes=None, mode="nearest",
           coordinate_transformation_mode="half_pixel", keep_aspect_ratio_policy="stretch", **_):  # fmt: skip
    """ONNX's nearest pixel is the one at the middle of the new one, ours at its corner: the same in enlarging."""
    given = host(scales if sizes is None else sizes).tolist()
    wanted = [dict(zip(axes or range(4), given, strict=True))[axis] for axis in (2, 3)]
    if keep_aspect_ratio_policy != "stretch":
        choose = {"not_larger": min, "not_smaller": max}[keep_aspect_ratio_policy]
        factor = choose(new / old for new, old in zip(wanted, x.shape[2:], strict=True))
        wanted = [round(factor * old) for old in x.shape[2:]]
    target = {"scale_factor" if sizes is None else "size": wanted}
    corners = coordinate_transformation_mode == "align_corners"
    return ops.resize(x, mode={"linear": "bilinear"}.get(mode, mode), align_corners=corners, **target)
