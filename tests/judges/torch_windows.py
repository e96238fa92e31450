"""Convolution, pooling and resizing as PyTorch does them, with every padding that ours has."""

from __future__ import annotations

import math

import numpy as np

from .late import F, torch


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def sides(padding, size, kernel, stride, dilation):
    """((top, bottom), (left, right)) of every way to say padding."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        total = [max(0, (math.ceil(n / s) - 1) * s + e - n) for n, s, e in zip(size, stride, extents, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple(pair(side) for side in pair(padding))


def bordered(x, padding, kernel, stride, dilation, value=0.0):
    (top, bottom), (left, right) = sides(padding, x.shape[2:], kernel, pair(stride), pair(dilation))
    return F.pad(x, (left, right, top, bottom), value=value)


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    x = bordered(x, padding, w.shape[2:], stride, dilation)
    return F.conv2d(x, w, b, stride, 0, dilation, groups)


def conv2d_weight(x, gy, kernel_size, groups=1, **options):
    w = torch.zeros(gy.shape[1], x.shape[1] // groups, *pair(kernel_size), dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(conv2d(x, w, groups=groups, **options), w, gy, create_graph=True)[0]


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Without padding, then cropped: PyTorch pads equally on both sides only."""
    (top, bottom), (left, right) = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
    y = F.conv_transpose2d(x, w, b, stride, 0, output_padding, groups, dilation)
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def pooled(pool, x, kernel_size, stride, padding, dilation, ceil_mode, value=-math.inf):
    """PyTorch's own geometry where it has that padding; else x is bordered, and what starts beyond it is cropped."""
    kernel, stride, dilation = pair(kernel_size), pair(stride or kernel_size), pair(dilation)
    around = sides(padding, x.shape[2:], kernel, stride, dilation)
    if all(before == after <= k // 2 for (before, after), k in zip(around, kernel, strict=True)):
        return pool(x, kernel, stride, tuple(before for before, _ in around), dilation, ceil_mode)
    bordered_x = bordered(x, padding, kernel, stride, dilation, value)
    whole = pool(bordered_x, kernel, stride, 0, dilation, False)
    if not ceil_mode:
        return whole
    y = pool(bordered_x, kernel, stride, 0, dilation, True)
    p, q = (
        max(least, min(n, math.ceil((size + before) / s)))
        for least, n, size, (before, _), s in zip(
            whole.shape[2:], y.shape[2:], x.shape[2:], around, stride, strict=True
        )
    )
    return y[:, :, :p, :q]


def conv2d_relu_max_pool2d(x, w, b=None, pool_size=2, pool_stride=None, ceil_mode=False, flat=False, **options):
    y = max_pool2d(F.relu(conv2d(x, w, b, **options)), pool_size, pool_stride, ceil_mode=ceil_mode)
    return y.flatten(1) if flat else y


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    return pooled(F.max_pool2d, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_indices(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """In a bordered x PyTorch counts the border, too: we look up what stands there."""
    places = torch.arange(x.shape[2] * x.shape[3]).reshape(1, 1, *x.shape[2:])

    def pool(z, *options):
        seen = places if z.shape == x.shape else bordered(places, padding, *shape, value=-1)
        return seen.flatten()[F.max_pool2d(z, *options, return_indices=True)[1]]

    shape = pair(kernel_size), pair(stride or kernel_size), pair(dilation)
    return pooled(pool, x, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Sums, by counts."""

    def pool(x, k, s, p, d, ceil):
        return F.avg_pool2d(x, k, s, p, ceil, divisor_override=1)

    def mean(x, k, s, p, d, ceil):
        return F.avg_pool2d(x, k, s, p, ceil, count_include_pad)

    arguments = kernel_size, stride, padding, 1, ceil_mode, 0.0
    if count_include_pad:
        return pooled(mean, x, *arguments)
    return pooled(pool, x, *arguments) / pooled(pool, torch.ones_like(x), *arguments).clamp(min=1.0)


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Place by place: PyTorch's own leaves open which of several that name one place stays, and has no −1."""
    stride = pair(stride or kernel_size)
    around = sides(0 if padding == "same" else padding, None, None, None, None)
    least = [
        (n - 1) * s + k - sum(p) for n, s, k, p in zip(x.shape[2:], stride, pair(kernel_size), around, strict=True)
    ]
    size = [n * s for n, s in zip(x.shape[2:], stride, strict=True)] if padding == "same" else least
    h, w = (output_size or size)[-2:]
    n, c = x.shape[:2]
    source = np.full((n, c, h * w + 1), x.shape[2] * x.shape[3])  # the number of a zero after the others
    for plane in np.ndindex(n, c):
        source[plane][indices[plane].reshape(-1)] = np.arange(x.shape[2] * x.shape[3])
    numbers = F.pad(x.flatten(2), (0, 1))
    return torch.gather(numbers, 2, torch.from_numpy(source[..., :-1])).reshape(n, c, h, w)


def resize(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    """Where the result happens to be twice as large, PyTorch's nearest takes the factor for 2, whatever it is."""
    factors = () if scale_factor is None else np.broadcast_to(scale_factor, 2).tolist()
    doubled = [math.floor(n * factor) == 2 * n for n, factor in zip(x.shape[2:], factors, strict=False)]
    if mode == "bilinear" or not any(doubled):
        return F.interpolate(x, size, scale_factor, mode, align_corners if mode == "bilinear" else None)
    for axis, factor in zip((2, 3), factors, strict=True):
        places = torch.arange(math.floor(x.shape[axis] * factor)).double() / factor
        x = x.index_select(axis, places.long())
    return x
