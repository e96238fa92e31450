"""Mutants that are no mistakes: what they change makes no difference, and why.

RULES are for what stands in many places, EQUIVALENT is by file, and then by what the statement has become.
"""

from __future__ import annotations

import re

RULES = (
    (r"MOST_PARTS = (6|11|10 \*\* 7)", "the limit is a round number"),
    (r"[<>]=? MOST_ELEMENTS|< LARGEST", "the limit is a round number: one element more or less is no matter"),
    (r"reshape\(\[?-2\b", "NumPy takes any number below 0 for −1"),
    (r"compare\((b, a|largest, x), 'equal'\)", "equal is equal from either side"),
)

INTEGERS = "NumPy's integers and lists do as well as Python's integers and tuples"

# Reasons that are given more than once.
QUICK = "a short cut: the long way gives the same"
AGAIN = "what is right passes this check, too, and what is wrong is found by the next"
BEYOND = "a window that reaches beyond the ends reads nothing more"
NUMPYS = "kernels take NumPy's numbers, too: the dtype is that of the array"
ONLY = "it is called with nothing else"
HOST = "on the host it is the same; what it does on a GPU, tests/kernels/cuda asks"
PYTHONS = "a number of Python leaves the dtype of an array as it is"

EQUIVALENT: dict[str, dict[str, str]] = {
    "kernels/reference/adaptive.py": {
        "adaptive_max_pool2d: y[output] = np.take_along_axis(row_by_row, first[..., None])[..., 0]":
            "the last axis is the usual one",
        "max_unpool2d: last = np.full((n, c, size[0] * size[1] + 2), -1)":
            "it only must be the last, and below every number that is put there",
        "max_unpool2d: last = np.full((n, c, size[0] * size[1] + 1), -2)":
            "it only must be the last, and below every number that is put there",
        "max_unpool2d: last = np.full((n, c, size[0] * size[1] + 1), -0)":
            "it only must be the last, and below every number that is put there",
    },
    "kernels/reference/arrays.py": {
        "sum: return np.asarray(np.add.reduce(x, axis=axis, dtype=wider, keepdims=keepdims)).astype(x.dtype)": "a copy",
        "sum: return np.asarray(np.add.reduce(x, axis=axis, dtype=wider, keepdims=keepdims)).astype(x.dtype, "
        "copy=True)": "a copy",
        "sum: return np.add.reduce(x, axis=axis, dtype=wider, keepdims=keepdims).astype(x.dtype, copy=False)":
            "a number of NumPy for an array of one",
        "logsumexp: shift = np.where(np.isfinite(largest), largest, 1)": "e^(±∞ − 1) is what e^±∞ is",
        "logsumexp: with np.errstate(divide='ignore'):": "nothing above 0 is raised, so nothing overflows",
        "add_at: parts = (index,)": QUICK,
        "add_at: never all((part is None or part is ... or isinstance(part, int | np.integer | slice) "
        "for part in parts))": QUICK,
        "add_at: if all((part is None and part is ... and isinstance(part, int | np.integer | slice) for "
        "part in parts)):": QUICK,
        "scatter_add: places = list(np.indices(v.shape))": QUICK,
        "scatter_add: places = list(np.indices(v.shape, sparse=False))": QUICK,
        "fold_copies: border = (lines[:before], lines[before + n:].copy())": "border and inside are apart",
        "fold_copies: border = (lines[:before].copy(), lines[before + n:])": "border and inside are apart",
        "fold_copies: return gx": "a view holds a border more",
        "linear_gradient: return (g @ w if needs[0] else None, g.T @ x if needs[1] else None, g.sum(axis=0))":
            "the last of three is not asked for then",
    },
    "kernels/reference/functions.py": {
        "Assign: FAR = 101": "the limit is a round number",
        "_normal: phi = [math.erfc(-number / math.sqrt(2)) / 2 for number in x.ravel()]": PYTHONS,
        "log_softmax: return x": "of no elements there is nothing to share",
        "_largest: return np.ones((), x.dtype)": "of no elements there is nothing to shift",
    },
    "kernels/reference/losses.py": {
        "negative_log_likelihood: losses = -np.multiply(q, x, out=q, where=q != 0).sum(axis=1)":
            "q is needed no more",
        "negative_log_likelihood: return losses if divisor is None else losses.sum()":
            "a number of NumPy for an array of one",
        "_softplus: positive = x.real >= 0": "near 0 both formulas are right",
        "_softplus: positive = x.real > 1": "near 0 both formulas are right",
    },
    "kernels/reference/noise.py": {
        "random_bits: low = 4294967295": PYTHONS,
        "random_bits: c0, c1 = (block & low, block >> 32)": PYTHONS,
        "random_bits: a, b = (c0 * 3528531795, c2 * np.uint64(3449720151))": PYTHONS,
        "random_bits: a, b = (c0 * np.uint64(3528531795), c2 * 3449720151)": PYTHONS,
        "random_bits: block = np.arange((n + 4) // 4, dtype=np.uint64)": "blocks too many are cut off",
        "random_bits: block = np.arange((n + 3) * 4, dtype=np.uint64)": "blocks too many are cut off",
        "random_bits: c0, c1 = (block & low, block >> np.uint64(33))": "no computer holds so many blocks",
        "random_bits: c0, c1, c2, c3 = (b >> 32 ^ c1 ^ np.uint64(key0), b & low, a >> np.uint64(32) ^ c3 "
        "^ np.uint64(key1), a & low)": PYTHONS,
        "random_bits: c0, c1, c2, c3 = (b >> np.uint64(32) ^ c1 ^ key0, b & low, a >> np.uint64(32) ^ c3 "
        "^ np.uint64(key1), a & low)": PYTHONS,
        "random_bits: c0, c1, c2, c3 = (b >> np.uint64(32) ^ c1 ^ np.uint64(key0), b & low, a >> 32 ^ c3 "
        "^ np.uint64(key1), a & low)": PYTHONS,
        "random_bits: c0, c1, c2, c3 = (b >> np.uint64(32) ^ c1 ^ np.uint64(key0), b & low, a >> "
        "np.uint64(32) ^ c3 ^ key1, a & low)": PYTHONS,
        "dropout_mask: kept = words > min(round(p * 2 ** 32), 2 ** 32 - 1)": "one word in 2³² decides otherwise",
        "dropout_mask: return kept.astype(dtype) * (1 / (1 - p) if p < 1 else 0)": NUMPYS,
        "dropout_mask: return kept.astype(dtype) * dtype.type(1 / (1 - p) if p < 1 else 1)":
            "one word in 2³² decides otherwise",
        "dropout_mask: kept = words >= min(p * 2 ** 32, 2 ** 32 - 1)": "one word in 2³² decides otherwise",
        "dropout_mask: kept = words >= min(round(p * 2 ** 32), 3 ** 32 - 1)": "one word in 2³² decides otherwise",
        "dropout_mask: kept = words >= min(round(p * 2 ** 32), 2 ** 33 - 1)": "one word in 2³² decides otherwise",
        "dropout_mask: kept = words >= min(round(p * 2 ** 32), 2 ** 32 + 1)": "one word in 2³² decides otherwise",
        "dropout_mask: kept = words >= min(round(p * 2 ** 32), 2 ** 32 - 2)": "one word in 2³² decides otherwise",
        "dropout_mask: kept = words >= min(round(p * 2 ** 32), 2 ** 32 - 0)": "one word in 2³² decides otherwise",
    },
    "kernels/reference/norm.py": {
        "batch_norm: y = np.clip(0, y, cap)": "of three numbers the middle one",
        "batch_norm: return (y.astype(x.dtype), mean, var)": "a copy",
        "batch_norm: return (y.astype(x.dtype, copy=True), mean, var)": "a copy",
        "batch_norm_gradient: gx = (projected * _by_channel(scale, x)).astype(x.dtype)": "a copy",
        "batch_norm_gradient: gx = (projected * _by_channel(scale, x)).astype(x.dtype, copy=True)": "a copy",
        "batch_norm_gradient: return (gx, gw.astype(of_w), gb.astype(of_w, copy=False))": "a copy",
        "batch_norm_gradient: return (gx, gw.astype(of_w, copy=True), gb.astype(of_w, copy=False))": "a copy",
        "batch_norm_gradient: return (gx, gw.astype(of_w, copy=False), gb.astype(of_w))": "a copy",
        "batch_norm_gradient: return (gx, gw.astype(of_w, copy=False), gb.astype(of_w, copy=True))": "a copy",
        "batch_norm_gradient: gb, gw = (g.sum(axes), (g * x_hat).sum(axes))":
            "what is added is wide already, or a sum in pairs is as precise as the result",
        "standardize: return (x, np.ones((len(x), 1), x.dtype))": "of no elements there is nothing to share",
        "standardize: return (x.copy(), np.zeros((len(x), 1), x.dtype))": "of no elements nothing is divided",
        "standardize: return (x.copy(), np.ones((len(x), 0), x.dtype))": "of no elements nothing is divided",
        "standardize: return (x_hat.astype(x.dtype), inv_std.astype(x.dtype, copy=False))": "a copy",
        "standardize: return (x_hat.astype(x.dtype, copy=True), inv_std.astype(x.dtype, copy=False))": "a copy",
        "standardize: return (x_hat.astype(x.dtype, copy=False), inv_std.astype(x.dtype))": "a copy",
        "standardize: return (x_hat.astype(x.dtype, copy=False), inv_std.astype(x.dtype, copy=True))": "a copy",
        "_moments: var = ((mean - wide) ** 2).mean(axes)": "it is squared",
        "_standardised: return (x - _by_channel(mean, x)) / _by_channel(np.sqrt(var + eps), x)":
            "the mean is in double precision, always, and so is the difference",
        "_wide: return x.astype(np.result_type(x, np.float64))": "a copy",
        "_wide: return x.astype(np.result_type(np.float64, x), copy=False)": "a copy",
        "_wide: return x.astype(np.result_type(x, np.float64), copy=True)": "a copy",
        "batch_norm: mean, var = _moments(x, _but_channels(x))": "a sum over axes in any order",
        "_but_channels: return (*range(2, x.ndim), 0)": "a sum over axes in any order",
        "channel_sum: here = slice(max(0, -shift), max(1, channels - max(0, shift)))":
            "the op asks for no window that reaches that far",
        "local_response_norm_gradient: return own - 2 * alpha * beta * x * others": PYTHONS,
        "_sizes: return k + x.dtype.type(alpha) * channel_sum(x * x, before, after)": PYTHONS,
        "_sizes: return x.dtype.type(k) + alpha * channel_sum(x * x, before, after)": PYTHONS,
        "_power: return np.power(s, exponent)": PYTHONS,
    },
    "kernels/reference/resize.py": {
        "_sampled: never sampling.mode == 'nearest'": "between neighbours that are one, any mixture is that one",
        "_sampled: if sampling.mode == 'neares':": "between neighbours that are one, any mixture is that one",
        "_sampled: return x.take(high, axis)": "between neighbours that are one, any mixture is that one",
        "_put_back: np.add.at(gx, (*before, low), gy * (1 - share))":
            "between neighbours that are one, any mixture is that one",
        "_put_back: np.add.at(gx, (*before, low), gy if sampling.mode == 'neares' else gy * (1 - share))":
            "between neighbours that are one, any mixture is that one",
        "_put_back: always sampling.mode != 'nearest'": "between neighbours that are one, any mixture is that one",
        "_put_back: if sampling.mode != 'neares':": "between neighbours that are one, any mixture is that one",
    },
    "kernels/reference/steps.py": {
        "unscale: array *= factor": PYTHONS,
        "unscale: finite &= np.isfinite(array).all()": "NumPy's True and False do as well as Python's",
        "unscale: return finite": "NumPy's True and False do as well as Python's",
        "sgd_step: always weight_decay": QUICK,
        "adam_step: always weight_decay": QUICK,
        "adam_step: if weight_decay or decoupled:": QUICK,
        "rmsprop_step: always weight_decay": QUICK,
        "sgd_step: velocity += (1 - dampening) * g": QUICK,
    },
    "kernels/reference/windows.py": {
        "padded: return np.pad(x, ((0, 0), (0, 0), *window.overhang(x.shape[2:])))":
            "a maximum is taken of what is inside only, and averages pad with 0",
        "col2im: return image[:, :, top:top + size[0], left:left + size[1]]": "a view holds a border more",
        "conv2d_weight: gw = np.einsum('ngkpq,ngcrspq->gkcrs', gradient, columns)": QUICK,
        "conv2d_weight: gw = np.einsum('ngkpq,ngcrspq->gkcrs', gradient, columns, optimize=False)":
            "what is not asked for is not looked at",
        "conv2d_weight: return (gw.reshape(k, x.shape[1] // groups, *window.kernel), gy.sum(axis=(0, 2, 3)))":
            "what is not asked for is not looked at",
        "max_pool2d: image = padded(x, window, np.inf)":
            "a maximum is taken of what is inside only, and averages pad with 0",
        "relu_max_pool2d: return (y, np.where(y > 0, indices, -1))": PYTHONS,
        "conv2d_relu_max_pool2d_gradient: always needs[1] or needs[2]": "who calls it needs a gradient of w",
        "conv2d_relu_max_pool2d_gradient: if needs[1] or needs[3]:": "who calls it needs a gradient of w",
        "max_pool2d_gather: planes = np.concatenate([x.reshape(n, c, h * w), np.zeros((n, c, 2), "
        "x.dtype)], axis=2)": "index −1 is the last of them, too",
    },
    "ops/__init__.py": {
        "to: always target is not None": "None has been the dtype before",
        "For: no setattr(Tensor, _name, _method)":
            "not judged: the methods have been attached by then, and without them no test of one runs",
    },
    "ops/activation.py": {
        "ScaledTanh.forward: y = kernels.mul(kernels.tanh(kernels.mul(x, SLOPE)), x.dtype.type(AMPLITUDE))": PYTHONS,
        "ScaledTanh.forward: y = kernels.mul(kernels.tanh(kernels.mul(x, x.dtype.type(SLOPE))), AMPLITUDE)": PYTHONS,
        "prelu: no floating('prelu', x, weight)": AGAIN,
        "softplus: smallest = np.finfo(x.dtype).tiny": NUMPYS,
        "_number: number = value": NUMPYS,
    },
    "ops/adaptive.py": {
        "output_size_of: rows, columns = (size for size in sizes)": INTEGERS,
        "output_size_of: rows, columns = (size if size is None else size for size in sizes)": INTEGERS,
    },
    "ops/arguments.py": {
        "array_of: return np.array(devices.to_host(value))": "NumPy takes a Tensor for an array",
        "array_of: return np.array(value.data if isinstance(value, Tensor) else value)": HOST,
        "of_one_dtype: return [tensor.to(dtype) for tensor in tensors]": QUICK,
        "axes_of: return tuple(axes_in_order(op, x, axis))": "who asks for a set of axes does not mind their order",
        "axes_in_order: return range(x.ndim)": INTEGERS,
        "groups_of: return groups": INTEGERS,
        "_within_reason: always window.ceil_mode": "without it a window that is longer has been refused by then",
        "axes_in_order: positive = tuple((a % x.ndim for a in axes))": INTEGERS,
        "sizes_of: sizes = as_tuple(shape)": QUICK,
        "sizes_of: sizes = shape if shape is tuple else as_tuple(shape)": QUICK,
        "sizes_of: always type(size) is not int": QUICK,
        "sizes_of: if size is not int:": QUICK,
    },
    "ops/arithmetic.py": {
        "operands: always not (isinstance(a, Tensor) and isinstance(b, Tensor))": QUICK,
        "operands: always a.dtype != b.dtype": QUICK,
        "operands: always a.shape != b.shape and a.shape and b.shape": QUICK,
        "operands: if a.shape != b.shape or a.shape or b.shape:": QUICK,
        "wrapped: return (a, like(name, a, b))": ONLY,
        "like: never type(value) is float and tensor.dtype.kind in 'fV'": QUICK,
        "like: always isinstance(value, numbers.Complex | np.generic | list | tuple)":
            "what is no number is an array of objects, and refused as such",
        "like: if value is float and tensor.dtype.kind in 'fV':": QUICK,
        "like: if type(value) is float and tensor.dtype.kind in 'f':": QUICK,
        "like: return Tensor(value)": HOST,
        "_on: always devices.DEVICES[device].memory == 'host' or np.ndim(value)": HOST,
        "_on: if devices.DEVICES[device].memory == 'host' and np.ndim(value):": HOST,
        "_on: if devices.DEVICES[device].memory != 'host' or np.ndim(value):": HOST,
        "_on: if devices.DEVICES[device].memory == 'hos' or np.ndim(value):": HOST,
        "_on: if devices.DEVICES[device].memory == 'host' or value:": HOST,
        "_on: return Tensor._made(device, devices.constant(Tensor(value, device='cpu').data, device))": HOST,
        "_on: return Tensor._made(devices.constant(device, Tensor(value, device='cpu').data), device)": HOST,
        '_on: return Tensor._made(devices.constant(Tensor(value).data, device), device)': HOST,
        "where: condition = array_of('where', 'condition', given)": HOST,
        "Maximum.forward: half = kernels.mul(equal, 0.5)": NUMPYS,
        "where: a = like('where', Tensor(1.0, device=device), a)": "only its dtype and device count",
    },
    "ops/dropout.py": {
        "_drop: return function.apply(x, p=p, seed=seed, call=call, decisions=decisions)": NUMPYS,
    },
    "ops/elementary.py": {
        "PowOfTensors.backward: reduced = where((e == 0.0) * (x == 0.0), 2.0, e - 1.0)": "0·0² is 0·0¹",
        "Clip.forward: inside = kernels.compare(x, raised, 'equal')": "equal is equal from either side",
        "pow: never isinstance(exponent, numbers.Real | np.integer | np.floating)": QUICK,
        "pow: no floating('pow', x, exponent)": AGAIN,
    },
    "ops/elementwise_loss.py": {
        "mse_loss: difference = target - x": "a square, or an absolute value, is the same from either side",
        "l1_loss: return reduce('l1_loss', abs(target - x), reduction)":
            "a square, or an absolute value, is the same from either side",
        "_smooth_l1: difference = target - x": "a square, or an absolute value, is the same from either side",
    },
    "ops/fused.py": {
        "Conv2dAct.backward: g = ClipMask.apply(gy, y=y, low=0.0, high=self.cap)": QUICK,
        "Conv2dReLUMaxPool2d.backward: always is_grad_enabled() or not self.needs_grad(1)": QUICK,
        "Conv2dReLUMaxPool2d.backward: found = iter(Conv2dReLUMaxPool2dGradient.apply(gy, *self.saved, "
        "indices=self.indices, window=self.window, groups=self.groups, pool=self.pool, "
        "needs=self.active))": INTEGERS,
    },
    "ops/gates.py": {
        "HardSwish.bend: return (abs(x) <= 3.0).to(x.dtype) * (1 / 3)": "at a kink no second derivative is promised",
    },
    "ops/indexing.py": {
        "add_at: if min(shape, default=1) < 0:": "() is the shape of a number",
        "getitem: index = _plain(index)": "NumPy takes a Tensor for an array",
        "getitem: index = tuple(map(_plain, index)) if isinstance(index, tuple) else index":
            "NumPy takes a Tensor for an array",
        "add_at: index = _plain(index)": "NumPy takes a Tensor for an array",
    },
    "ops/joining.py": {
        "split: if is_whole(sections) and 0 < sections < MOST_PARTS and (size % sections == 0):":
            "the limit is a round number",
        "split: sizes: tuple[int, ...] = (size // sections,) * int(sections)": INTEGERS,
        "split: sizes: tuple[int, ...] = (size // int(sections),) * sections": INTEGERS,
        "split: sizes = sizes_of('split', x, sections) if isinstance(sections, tuple | list | "
        "np.ndarray) else (-2,)": "any size below 0 is refused next",
        "split: if min(sizes, default=1) < 0 or sum(sizes) != size:": "of no sizes the sum is 0",
        "chunk: length = max(1, -(-size // chunks))": INTEGERS,
        "roll: within = tuple((s % max(1, x.shape[a]) for s, a in zip(shifts, axes, strict=True)))": INTEGERS,
        "roll: within = tuple((int(s) % max(2, x.shape[a]) for s, a in zip(shifts, axes, strict=True)))":
            "a row of one is the same, however it is rolled",
        "repeat: if not all(map(is_whole, counts)) or min(counts, default=1) < 0 or len(counts) not in (1, size):":
            "of no numbers none is below 0",
        "tile: if not all(map(is_whole, counts)) or min(counts, default=1) < 0:": "of no numbers none is below 0",
        "repeat: always len(counts) != 1": QUICK,
        "repeat: if counts != 1:": QUICK,
        "repeat: if len(counts) != 0:": QUICK,
        "tile: shape = tuple((count * size for count, size in zip(sizes, counts, strict=True)))":
            "a product from either side",
        "_below: return np.arange(columns) - np.arange(rows)[:, None] <= max(-rows, min(k, columns)) - without":
            INTEGERS,
        "_tensors: tensors = tensors": INTEGERS,
        "concat: if tensor.ndim != len(first) or any((a != b for position, (a, b) in "
        "enumerate(zip(tensor.shape, first, strict=True)) if position != along)):": "unequal from either side",
        "split: return Split.apply(x, sizes=sizes, axis=along)": QUICK,
    },
    "ops/linear.py": {
        "matmul: always not (isinstance(a, Tensor) and isinstance(b, Tensor))": QUICK,
        "matmul: return matmul(a.reshape(1, -1), b).squeeze(-2 if b.ndim > 2 else 0)": "of two axes the first is −2",
        "Linear.backward: needs = self.active": "a list for a tuple",
        "_linear: never x.ndim == 2": QUICK,
    },
    "ops/loss.py": {
        "_of_probabilities: always smoothing": QUICK,
        "_of_probabilities: q = q * (1 - smoothing) + smoothing / max(classes, 2)": "of one class the logarithm is 0",
        "_checked: return (labels.array, weights, {'none': None, 'sum': 1.0, 'mean': math.prod(labels.shape)}"
        "[reduction])": PYTHONS,
        "_labels: labels = labels.astype(np.int64)": "a copy",
        "_labels: labels = labels.astype(np.int64, copy=True)": "a copy",
        "_labels: always 0 <= ignore_index < classes or (kept and labels.view(np.uint64).max() >= classes)": QUICK,
        "_labels: if 0 <= ignore_index <= classes or (kept and labels.view(np.uint64).max() >= classes):": QUICK,
        "_labels: labels[ignored] = -2": "kernels ask whether a label is below 0",
        "_labels: kept -= np.count_nonzero(ignored)": PYTHONS,
        "_labels: weights = _weights(op, x, weight)": QUICK,
        "_labels: divisor = kept if weights is None else weights[labels[labels >= 0]].real.sum(dtype=np.float64)":
            NUMPYS,
        "_labels: divisor = float(kept if weights is None else weights[labels[labels >= 0]].real.sum())":
            "a sum of float32 is as precise as the loss that it divides",
        "constant: constants = array.astype(x.dtype)": "a copy",
        "constant: constants = array.astype(x.dtype, copy=True)": "a copy",
        "number: real = value is float or (isinstance(value, numbers.Real) and (not isinstance(value, bool)))": QUICK,
        "number: return value": NUMPYS,
        "expect_probabilities: worst = given.flat[np.argmax(np.abs(0.5 - given))]": "the distance from either side",
        "_of_probabilities: no floating('cross_entropy', logits, q)": AGAIN,
    },
    "ops/lrn.py": {
        "local_response_norm: most = max(x.shape[1] + 1, 0)": BEYOND,
        "local_response_norm: most = max(x.shape[1] - 0, 0)": BEYOND,
        "local_response_norm: most = max(x.shape[1] - 1, 1)": BEYOND,
        "local_response_norm: return LocalResponseNorm.apply(x, form=Form(before, after, alpha, "
        "float(beta), float(k)))": NUMPYS,
        "local_response_norm: return LocalResponseNorm.apply(x, form=Form(before, after, float(alpha), "
        "beta, float(k)))": NUMPYS,
    },
    "ops/norm.py": {
        "BatchNorm.backward: always self.needs_grad(3)": QUICK,
        "group_norm: x_hat, _ = Standardize.apply(x.reshape(rows, x.size // rows if rows else 1), "
        "eps=expect_eps('group_norm', eps))": "no rows of any length are nothing",
        "_batch_norm: always r is not None": AGAIN,
        "_batch_norm: track = None if not running or is_recomputing() else (*(s.data for s in running), momentum)":
            "statistics are written in place: their dtype stays",
        "expect_channels: always x.dtype.kind not in FLOATING": QUICK,
    },
    "ops/pad.py": {
        "pad: widths = tuple(((before, int(after)) for before, after in sides))": INTEGERS,
        "pad: widths = tuple(((int(before), after) for before, after in sides))": INTEGERS,
        "FoldCopies: any_dtype = False": "a gradient is no integer",
    },
    "ops/pool.py": {
        "MaxPool2d.forward: self, x, window, return_indices=True": "it is always said",
        "_places: places = array_of('max_unpool2d', 'indices', indices)": "a copy",
    },
    "ops/reduction.py": {
        "Mean.forward: return kernels.mul(kernels.sum(x, axes, keepdims), self.share)": PYTHONS,
        "Max.forward: count = kernels.maximum(kernels.sum(ties, axes, True), 1)": PYTHONS,
        "_variance: deviation = kernels.sub(x, kernels.mul(kernels.sum(x, axes, True), 1 / n))": PYTHONS,
        "_variance: return kernels.mul(kernels.sum(kernels.mul(deviation, deviation), axes, keepdims), 1 "
        "/ divisor)": PYTHONS,
        "Std.backward: return gy.reshape(self.kept) * (deviation / ((y - (y == 0.0)) * self.divisor))":
            "0 divided by −1 instead of by 1",
        "_variance: deviation = kernels.sub(kernels.mul(kernels.sum(x, axes, True), x.dtype.type(1 / n)), x)":
            "it is squared",
        "LogSumExp.backward: y = where(y == -math.inf, 1.0, y).reshape(self.kept)": "e^(−∞ − 1) is 0, too",
        "_statistics: return {'axes': axes, 'keepdims': flag(op, 'keepdims', keepdims), 'correction': correction}":
            NUMPYS,
        "sum_to: y = Sum.apply(x, axes=tuple(range(added)) + stretched, keepdims=False)": "its shape is said next",
        "prod: factors = concat([pairs, factors[2 * half:]]) if len(factors) * 2 else pairs": "nothing is joined on",
        "prod: factors = concat([pairs, factors[2 * half:]])": "nothing is joined on",
        "prod: factors = concat([pairs, factors[2 * half:]]) if 2 % len(factors) else pairs": "nothing is joined on",
    },
    "ops/resize.py": {
        "resize: sizes = tuple((math.floor(length * factor) for length, factor in zip(factors, "
        "x.shape[2:], strict=True)))": "a product from either side",
        "resize: steps = [1 / Fraction(factor).limit_denominator(6 ** 10) for factor in factors]":
            "the limit is a round number",
        "resize: steps = [1 / Fraction(factor).limit_denominator(11 ** 6) for factor in factors]":
            "the limit is a round number",
        "resize: steps = [1 / Fraction(factor).limit_denominator(10 ** 7) for factor in factors]":
            "the limit is a round number",
        "resize: rows, columns = (Sampling(x.shape[axis], sizes[2 - axis], steps[axis - 2], mode, "
        "corners) for axis in (2, 3))": "counted from the end, −1 is 1",
        "resize: rows, columns = (Sampling(x.shape[axis], sizes[axis - 2], steps[2 - axis], mode, "
        "corners) for axis in (2, 3))": "counted from the end, −1 is 1",
        "_factors: factors = plain if isinstance(plain, tuple | list) else (plain, plain)": INTEGERS,
        "_factors: if len(factors) != 2 or not all(map(is_number, factors)) or (not all((0.0001 < f <= "
        "1000000.0 for f in factors))):": "the limit is a round number",
        "_factors: if len(factors) != 2 or not all(map(is_number, factors)) or (not all((0.0001 <= f < "
        "1000000.0 for f in factors))):": "the limit is a round number",
        "_factors: if len(factors) != 2 or not all(map(is_number, factors)) or (not all((0.0001 <= f <= "
        "1000001.0 for f in factors))):": "the limit is a round number",
        "_factors: return (float(factors[0]), factors[1])": INTEGERS,
    },
    "ops/shape.py": {
        "Transpose.forward: self.inverse = tuple((axis for axis in np.argsort(axes)))": INTEGERS,
        "reshape: if min(sizes, default=1) < 0 or math.prod(sizes) != x.size:": "() is the shape of a number",
        "transpose: positive = tuple((axis % x.ndim if -x.ndim <= axis < x.ndim else axis for axis in "
        "order)) if whole else ()": INTEGERS,
        "moveaxis: return Transpose.apply(x, axes=order)": INTEGERS,
        "swapaxes: return Transpose.apply(x, axes=order)": INTEGERS,
        "broadcast_to: never type(shape) is tuple and x.shape == shape": QUICK,
        "broadcast_to: if shape is tuple and x.shape == shape:": QUICK,
        "broadcast_to: if tail is None or min(shape, default=1) < 0 or any((size not in (1, wanted) for "
        "size, wanted in zip(x.shape, tail, strict=True))):": "() is the shape of a number",
        "expand_dims: position = axis % (x.ndim + 1)": INTEGERS,
    },
}  # fmt: skip


def why_equivalent(file: str, name: str) -> str:
    """The reason, empty if there is none."""
    rule = next((reason for pattern, reason in RULES if re.search(pattern, name)), "")
    return EQUIVALENT.get(file, {}).get(name, rule)
