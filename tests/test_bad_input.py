"""Bad input gets one sentence that names the op and the shapes, and never an error from inside of NumPy."""

import itertools
import re
from string import ascii_letters

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn, ops
from minicnn.errors import ArgumentError, DeviceError, DTypeError, GraphError, IndexingError, MinicnnError, ShapeError


def ones(*shape, dtype="float32"):
    return Tensor(np.ones(shape, dtype))


A = np.ones(3, "float32")
X, IMAGE, KERNEL = ones(2, 3), ones(1, 1, 5, 5), ones(1, 1, 3, 3)
PLACES = np.arange(25).reshape(1, 1, 5, 5)
INT, BOOL, DOUBLE = Tensor([1, 2, 3]), ones(2, 3) > 0, ones(2, 3, dtype="float64")

# What is called, the error, and the words in it that help.
BAD = {
    # no Tensor
    "relu of an array": (lambda: ops.relu(A), DTypeError, "relu takes a Tensor as x, got ndarray: wrap it in"),
    "softmax of a list": (lambda: ops.softmax([1.0, 2.0]), DTypeError, "softmax takes a Tensor as x, got list"),
    "conv2d of an array": (lambda: nn.Conv2d(1, 2, 3)(IMAGE.data), DTypeError, "conv2d takes a Tensor as x, got nd"),
    "linear of an array": (lambda: nn.Linear(3, 2)(X.data), DTypeError, "linear takes a Tensor as x, got ndarray"),
    "conv2d weight": (lambda: ops.conv2d(IMAGE, KERNEL.data), DTypeError, "conv2d takes a Tensor as weight, got nd"),
    "conv2d bias": (lambda: ops.conv2d(IMAGE, KERNEL, bias=A), DTypeError, "conv2d takes a Tensor as bias, got nd"),
    "linear bias": (lambda: ops.linear(X, ones(2, 3), A), DTypeError, "linear takes a Tensor as bias, got ndarray"),
    "concat of arrays": (lambda: ops.concat([X, A]), DTypeError, r"concat takes a Tensor as tensors\[1\], got ndarray"),
    "concat of a number": (lambda: ops.concat(np.array(1.0)), DTypeError, "concat takes a Tensor as .*, got ndarray"),
    "stack of None": (lambda: ops.stack(None), DTypeError, "stack takes a Tensor as .*, got NoneType"),
    "add of None": (lambda: X + None, DTypeError, r"add of a float32 tensor of shape \(2, 3\) and NoneType"),
    "add without Tensor": (lambda: ops.add(1.0, A), DTypeError, "add takes at least one Tensor, got float and nd"),
    "ragged": (lambda: ops.add(X, [[1], [1, 2]]), DTypeError, "add takes an array .* rows must be equally long"),
    "complex": (lambda: X * 1j, DTypeError, r"mul of a float32 tensor of shape \(2, 3\) and complex 1j"),
    "matmul by number": (lambda: X @ 2.0, ShapeError, r"matmul .* \(2, 3\) and \(\): use \* for numbers"),
    "matmul by text": (lambda: X @ "a", DTypeError, r"matmul of .* \(2, 3\) and str 'a'"),
    "text to a power": (lambda: "a" ** X, DTypeError, r"pow of .* \(2, 3\) and str 'a'"),
    "condition": (lambda: ops.where("a", X, X), DTypeError, "where needs a bool condition"),
    "logits": (lambda: ops.cross_entropy(A, [0]), DTypeError, "cross_entropy takes a Tensor as logits, got ndarray"),
    "labels": (lambda: ops.cross_entropy(X, None), ShapeError, r"cross_entropy .* \(2, 3\) and \(\)"),
    "mse_loss of a list": (lambda: ops.mse_loss([1.0], [1.0]), DTypeError, "mse_loss takes a Tensor as x, got list"),
    "delta ∞": (lambda: ops.huber_loss(X, X, delta=np.inf), ArgumentError,
                "huber_loss takes delta as a number that is finite in float32, got inf"),
    "delta too large": (lambda: ops.huber_loss(X, X, delta=1e39), ArgumentError, r"huber_loss takes .*, got 1e\+39"),
    "gamma ∞": (lambda: ops.sigmoid_focal_loss(X, X, gamma=np.inf), ArgumentError, "sigmoid_focal_loss takes gamma"),
    "weights too large": (lambda: ops.cross_entropy(X, [0, 1], [1e300, 1, 1]), ArgumentError,
                          r"cross_entropy takes numbers ≥ 0 as weight, got 1e\+300: they must be finite in float32"),
    "a list as device": (lambda: X.to(device=["cpu"]), DeviceError, "a device is a name, one of .*, not a list"),
    "no device": (lambda: minicnn.use(None), DeviceError, "a device is a name, one of cpu, .*, not a NoneType"),
    "mse_loss of text": (lambda: ops.mse_loss(X, "a"), DTypeError, r"mse_loss of .* \(2, 3\) and str"),
    # windows
    "conv2d too large": (lambda: ops.conv2d(IMAGE, ones(1, 1, 9, 9)), ShapeError,
                         r"conv2d of x \(1, 1, 5, 5\): a window of 9 rows \(kernel \(9, 9\)"),
    "pool too large": (lambda: ops.max_pool2d(IMAGE, 9), ShapeError, r"max_pool2d of x \(1, 1, 5, 5\): .* 9 rows"),
    "pool of text": (lambda: ops.avg_pool2d(IMAGE, "a"), ArgumentError,
                     r"avg_pool2d of x \(1, 1, 5, 5\): kernel_size must be an integer ≥ 1 .* got 'a'"),
    "conv2d_weight": (lambda: ops.conv2d_weight(IMAGE, IMAGE, 9), ShapeError, r"conv2d_weight of x \(1, 1, 5, 5\)"),
    "kernel of size 0": (lambda: ops.conv2d(IMAGE, ones(1, 1, 0, 3)), ArgumentError,
                         r"conv2d of x \(1, 1, 5, 5\): kernel_size must be .* got \(0, 3\)"),
    "transposed stride": (lambda: ops.conv_transpose2d(IMAGE, KERNEL, stride=0), ArgumentError,
                          r"conv_transpose2d of x \(1, 1, 5, 5\): stride"),
    "output_padding": (lambda: ops.conv_transpose2d(IMAGE, KERNEL, output_padding=1), ArgumentError,
                       r"conv_transpose2d of x \(1, 1, 5, 5\): output_padding \(1, 1\) must be smaller"),
    "stride {}": (lambda: ops.conv2d(IMAGE, KERNEL, stride={}), ArgumentError, r"conv2d of x .*: stride .* got {}"),
    "stride {1}": (lambda: ops.max_pool2d(IMAGE, 2, {1}), ArgumentError, r"max_pool2d of x .*: stride .* got {1}"),
    "padding None": (lambda: ops.conv2d(IMAGE, KERNEL, padding=None), ArgumentError, "conv2d of x .*: padding"),
    "padding 10⁹": (lambda: ops.conv2d(IMAGE, KERNEL, padding=10**9), ShapeError, "conv2d of x .*elements: pad less"),
    "padding 10⁵": (lambda: ops.conv2d(ones(1, 1, 4, 6), KERNEL, padding=10**5), ShapeError,
                    r"conv2d of x \(1, 1, 4, 6\): padding .* 200004 × 200006, 4.0e\+10 elements: pad less"),
    "padding 10⁵ of a pool": (lambda: ops.avg_pool2d(IMAGE, 2, padding=10**5), ShapeError, "avg_pool2d .*: pad less"),
    "padding of many images": (lambda: ops.max_pool2d(ones(40, 70, 1, 3), 2, padding=10**4), ShapeError,
                               r"max_pool2d of x \(40, 70, 1, 3\): padding .* makes 2800 images of 20001 × 20003"),
    "transposed stride 10⁵": (lambda: ops.conv_transpose2d(IMAGE, KERNEL, stride=10**5), ShapeError,
                              r"conv_transpose2d of x \(1, 1, 5, 5\) .* would have size .* use a smaller stride"),
    "padding 10²⁰": (lambda: ops.max_pool2d(IMAGE, 2, padding=10**20), ArgumentError, "max_pool2d of x .*: padding"),
    "stride 10⁹": (lambda: ops.conv_transpose2d(IMAGE, KERNEL, stride=10**9), ShapeError, "conv_transpose2d of x .*"),
    "groups True": (lambda: ops.conv2d(IMAGE, KERNEL, groups=True), ArgumentError, "conv2d takes a number of groups"),
    "groups '2'": (lambda: ops.conv2d(IMAGE, KERNEL, groups="2"), ArgumentError, "conv2d takes a number .* got '2'"),
    "groups 0": (lambda: ops.conv2d(IMAGE, KERNEL, groups=0), ShapeError, r"conv2d: groups=0 must divide .*1, 3, 3"),
    "groups 3": (lambda: ops.conv2d(IMAGE, KERNEL, groups=3), ShapeError, r"conv2d: groups=3 must divide .*1, 3, 3"),
    # resizing
    "resize both": (lambda: ops.resize(IMAGE, 3, 2.0), ArgumentError,
                    r"resize of x \(1, 1, 5, 5\) takes either size or scale_factor, got size=3, scale_factor=2.0"),
    "resize neither": (lambda: ops.interpolate(IMAGE), ArgumentError, "resize of x .* either size or scale_factor"),
    "resize mode": (lambda: ops.resize(IMAGE, 3, mode="bicubic"), ArgumentError,
                    "resize got mode='bicubic': choose one of nearest, bilinear"),
    "resize nearest corners": (lambda: ops.resize(IMAGE, 3, align_corners=True), ArgumentError,
                               'resize got align_corners=True, which goes with mode="bilinear"'),
    "resize corners": (lambda: ops.resize(IMAGE, 3, mode="bilinear", align_corners="no"), ArgumentError,
                       "resize takes align_corners=True or align_corners=False, got 'no'"),
    "resize to 0": (lambda: ops.resize(IMAGE, 0), ArgumentError, r"resize of x \(1, 1, 5, 5\): size must be .* got 0"),
    "resize to nothing": (lambda: ops.resize(IMAGE, scale_factor=0.1), ArgumentError,
                          r"resize of x \(1, 1, 5, 5\) by 0.1 leaves no pixels: \(P, Q\) would be \(0, 0\)"),
    "resize of nothing": (lambda: ops.resize(ones(1, 1, 0, 5), 3), ShapeError, r"\(1, 1, 0, 5\) has no pixels"),
    "resize by −2": (lambda: ops.resize(IMAGE, scale_factor=-2), ArgumentError, "resize .* scale_factor must be .* -2"),
    "resize by text": (lambda: ops.resize(IMAGE, scale_factor="2"), ArgumentError, "scale_factor must be .* got '2'"),
    "resize to 10⁶": (lambda: ops.resize(IMAGE, 10**6), ShapeError, r"resize of shape \(1, 1, 5, 5\) would make shape"),
    # picking by position
    "gather shape": (lambda: ops.gather(X, 1, [[0], [1], [2]]), ShapeError,
                     r"gather along axis 1 needs an index of the shape of x, \(2, 3\), but for .* got \(3, 1\)"),
    "gather beyond": (lambda: ops.gather(X, 1, [[0], [3]]), IndexingError,
                      r"gather along axis 1 of shape \(2, 3\) got index 3: positions run from -3 to 2"),
    "gather floats": (lambda: ops.gather(X, 1, X), DTypeError, r"gather needs integers as index, got float32 of shape"),
    "take by mask": (lambda: ops.take(X, [True, False], 0), DTypeError, "take needs integers as index, got bool"),
    "take beyond": (lambda: ops.take(X, [6]), IndexingError, r"take along axis 0 of shape \(6,\) got index 6"),
    "scatter_add src": (lambda: ops.scatter_add(X, 1, [[0], [1]], X), ShapeError,
                        r"scatter_add needs src of the shape of index, \(2, 1\), got \(2, 3\)"),
    "scatter_add dtypes": (lambda: ops.scatter_add(X, 1, [[0, 1, 2]] * 2, DOUBLE), DTypeError,
                           "scatter_add got tensors of different precision"),
    # cutting, repeating, clipping
    "split": (lambda: ops.split(X, 2, 1), ShapeError,
              r"split along axis 1 of shape \(2, 3\) needs a number of parts that divides 3, or sizes .* got 2"),
    "split of nothing": (lambda: ops.split(ones(0), 10**20), ShapeError, r"split along axis 0 of shape \(0,\) needs"),
    "split sizes": (lambda: X.split([1, 1], 1), ShapeError, r"split .* sizes that add up to it, got \[1, 1\]"),
    "chunk": (lambda: X.chunk(0), ArgumentError, r"chunk of shape \(2, 3\) needs a number of chunks ≥ 1, got 0"),
    "roll": (lambda: X.roll((1, 2), 0), ArgumentError, r"roll of shape \(2, 3\) needs one integer for each axis"),
    "repeat": (lambda: X.repeat([1, 2], 1), ArgumentError,
               r"repeat along axis 1 of shape \(2, 3\) needs an integer ≥ 0, or 3 of them, got \[1, 2\]"),
    "tile": (lambda: X.tile(-1), ArgumentError, r"tile of shape \(2, 3\) needs integers ≥ 0, got -1"),
    "tile 10¹²": (lambda: X.tile(10**12), ShapeError, r"tile of shape \(2, 3\) would make shape"),
    "tril": (lambda: Tensor(A).tril(), ShapeError, r"tril needs a matrix or several, .* got shape \(3,\)"),
    "moveaxis": (lambda: X.moveaxis((0, 1), 0), ShapeError, r"moveaxis of shape \(2, 3\) needs as many sources as"),
    "broadcast_arrays": (lambda: ops.broadcast_arrays(X, ones(2)), ShapeError,
                         r"broadcast_arrays got shapes \(2, 3\) and \(2,\), which do not broadcast"),
    "clip": (lambda: X.clip(None), ArgumentError, r"clip of shape \(2, 3\) needs min or max, got neither"),
    "clip shapes": (lambda: X.clip(ones(2)), ShapeError, r"clip of shape \(2, 3\) got bounds of shape \(2,\)"),
    "var": (lambda: ones(1, 3).var(0, correction=1), ShapeError,
            r"var over axes \(0,\) of shape \(1, 3\) has 1 elements, and needs more than its correction=1"),
    "std": (lambda: X.std(correction=None), ArgumentError, r"std of shape \(2, 3\) needs a number as correction"),
    "var flag": (lambda: X.var(0, "no"), ArgumentError, "var takes keepdims=True or keepdims=False, got 'no'"),
    # einsum
    "einsum of no formula": (lambda: ops.einsum(X, X), ArgumentError, 'einsum takes a formula such as "ij,jk->ik"'),
    "einsum diagonal": (lambda: ops.einsum("ii->i", X), ArgumentError,
                        "einsum 'ii->i': 'i' occurs twice in 'ii', and diagonals are not taken: index them first"),
    "einsum without end": (lambda: ops.einsum("ij,kl,mn->ijklmn", *[ones(300, 300)] * 3), ShapeError,
                           r"einsum of shape \(300, 300\) would make shape .*, 7.3e\+14 elements"),
    "einsum count": (lambda: ops.einsum("ij,jk", X), ArgumentError, "it is of 2 operands, but there are 1"),
    "einsum axes": (lambda: ops.einsum("ijk->i", X), ShapeError, r"'ijk' does not name the axes of shape \(2, 3\)"),
    "einsum sizes": (lambda: ops.einsum("ij,jk", X, X), ShapeError, r"\(2, 3\) and \(2, 3\): axes named 'j' differ"),
    "einsum result": (lambda: ops.einsum("ij->k", X), ArgumentError, "'k' of the result is in no operand"),
    "einsum dots": (lambda: ops.einsum("...i->i", X), ArgumentError, r"'...' of the operands must be in the result"),
    "einsum letters": (lambda: ops.einsum("i#", X), ArgumentError, "'i#' has more than letters and one '...'"),
    "einsum dots again": (lambda: ops.einsum("ij->...", X), ArgumentError, "'...' of the result is in no operand"),
    "einsum alphabet": (lambda: ops.einsum(f"{ascii_letters}...->...", ones(*[1] * 54)), ArgumentError,
                        "there are not enough letters for 2 more axes"),
    "einsum broadcast": (lambda: ops.einsum("...,...->...", X, ones(2)), ShapeError, "'...' do not broadcast"),
    # axes
    "softmax None": (lambda: ops.softmax(X, None), ShapeError, r"softmax works along one axis, got axis=None.*\(2, 3"),
    "log_softmax (0, 1)": (lambda: ops.log_softmax(X, (0, 1)), ShapeError, r"log_softmax works .* axis=\(0, 1\)"),
    "argmax None": (lambda: ops.argmax(X, None), ShapeError, "argmax works along one axis, got axis=None"),
    "argmax of text": (lambda: ops.argmax(X, "x"), ShapeError, r"argmax along axis 'x' .* \(2, 3\), axes 0 to 1"),
    "sum True": (lambda: X.sum(True), ShapeError, r"sum along axis True is not possible: x has shape \(2, 3\)"),
    "sum of a number": (lambda: Tensor(1.0).sum(0), ShapeError, r"sum along axis 0 .* shape \(\), which has no axes"),
    "argmax of a number": (lambda: Tensor(1.0).argmax(), ShapeError, r"argmax .* shape \(\), which has no axes"),
    "concat None": (lambda: ops.concat([X], None), ShapeError, "concat works along one axis, got axis=None"),
    "flatten": (lambda: X.flatten("a"), ShapeError, r"flatten from axis 'a' .* \(2, 3\)"),
    "expand_dims": (lambda: ops.expand_dims(X, "a"), ShapeError, r"expand_dims at axis 'a' .* \(2, 3\)"),
    "transpose": (lambda: X.transpose("a", "b"), ShapeError, r"transpose of shape \(2, 3\) .* got \('a', 'b'\)"),
    "stack axis": (lambda: ops.stack([X, X], 5), ShapeError, r"stack along a new axis 5 .* \(2, 3\)"),
    "stack shapes": (lambda: ops.stack([X, Tensor(A)]), ShapeError, r"stack needs tensors of one shape, got \(2, 3\)"),
    # numbers
    "dropout None": (lambda: ops.dropout(X, None), ArgumentError, "dropout needs a probability .* got None"),
    "dropout text": (lambda: ops.dropout(X, "a"), ArgumentError, "dropout needs a probability .* got 'a'"),
    "reshape text": (lambda: X.reshape("2", 3), ShapeError, r"reshape of shape \(2, 3\) .* got \('2', 3\)"),
    "reshape float": (lambda: X.reshape(2.0, 3), ShapeError, r"reshape of shape \(2, 3\) .* got \(2.0, 3\)"),
    "pad 1": (lambda: ops.pad(X, 1), ShapeError, r"pad needs \(before, after\).* \(2, 3\), got 1"),
    "pad 10²⁰": (lambda: ops.pad(X, [(0, 0), (0, 10**20)]), ShapeError, r"pad of shape \(2, 3\) .* elements"),
    "pad value": (lambda: ops.pad(X, [(0, 0), (0, 1)], value="a"), ArgumentError, r"pad of shape \(2, 3\) .* got 'a'"),
    "pad mode": (lambda: ops.pad(X, [(0, 0), (0, 1)], "symmetric"), ArgumentError,
                 r"pad of shape \(2, 3\) got mode='symmetric': choose one of constant, reflect, edge"),
    "pad reflect by 3": (lambda: ops.pad(X, [(0, 0), (0, 3)], "reflect"), ShapeError,
                         r"pad of shape \(2, 3\) by \(0, 3\) along axis 1: mode='reflect' needs an axis longer than"),
    "pad edge of nothing": (lambda: ops.pad(ones(0, 2), [(1, 0), (0, 0)], "edge"), ShapeError,
                            r"pad of shape \(0, 2\) by \(1, 0\) along axis 0: mode='edge' needs .* not empty"),
    "pad reflect value": (lambda: ops.pad(X, [(0, 0), (0, 1)], "reflect", 1.0), ArgumentError, "leave out value=1.0"),
    "broadcast_to": (lambda: X.broadcast_to("a"), ShapeError, r"broadcast_to of shape \(2, 3\) .* got 'a'"),
    "broadcast_to 3": (lambda: X.broadcast_to(3), ShapeError, r"broadcast_to .* \(2, 3\) into \(3,\)"),
    "broadcast_to −1": (lambda: ones(1).broadcast_to((-1,)), ShapeError, r"broadcast_to .* \(1,\) into \(-1,\)"),
    "broadcast_to 10²⁰": (lambda: ones(1).broadcast_to((10**20,)), ShapeError, r"broadcast_to of shape \(1,\)"),
    "step 0": (lambda: X[::0], IndexingError, r"slice\(None, None, 0\) does not fit a tensor of shape \(2, 3\)"),
    "index by text": (lambda: X["a"], IndexingError, r"'a' does not fit a tensor of shape \(2, 3\)"),
    "add_at": (lambda: ops.add_at(X, 0, "a"), ShapeError, r"add_at of shape \(2, 3\) .* got 'a'"),
    "compare": (lambda: ops.compare(X, X, "equals"), ArgumentError, "compare got how='equals': choose one of less"),
    "reduction": (lambda: ops.mse_loss(X, X, {}), ArgumentError, "mse_loss got reduction={}"),
    "conv2d dilated too far": (lambda: ops.conv2d(IMAGE, KERNEL, dilation=3, padding=((0, 1), (1, 1))), ShapeError,
                               r"conv2d of x \(1, 1, 5, 5\): a window of 7 rows .* into 5 with padding 0"),
    "conv2d channels": (lambda: ops.conv2d(ones(1, 3, 5, 5), ones(4, 3, 3, 3), groups=2), ShapeError,
                        r"conv2d expects 6 input channels, got 3: .* \(4, 3, 3, 3\) with groups=2"),
    "conv_transpose2d groups": (lambda: ops.conv_transpose2d(ones(1, 3, 5, 5), ones(3, 1, 3, 3), groups=2), ShapeError,
                                r"conv_transpose2d: groups=2 must divide the 3 channels of \(3, 1, 3, 3\)"),
    "conv2d_weight groups": (lambda: ops.conv2d_weight(ones(1, 4, 5, 5), ones(1, 3, 3, 3), 3, groups=2), ShapeError,
                             r"conv2d_weight: groups=2 must divide the 4 channels of .* and the 3 channels of"),
    "Conv2d groups": (lambda: nn.Conv2d(4, 6, 3, groups=4), ArgumentError, "groups=4 must divide in_channels=4"),
    "conv_transpose2d same": (lambda: ops.conv_transpose2d(IMAGE, KERNEL, padding="same"), ArgumentError,
                              'conv_transpose2d of x .* takes padding in numbers, got "same"'),
    "same as SAME": (lambda: ops.max_pool2d(IMAGE, 2, padding="SAME"), ArgumentError,
                     "max_pool2d of x .*: padding must be numbers, .* got 'SAME'"),
    "three sides": (lambda: ops.avg_pool2d(IMAGE, 2, padding=((0, 1), (1, 0), (1, 1))), ArgumentError, "avg_pool2d of"),
    "pool of integers": (lambda: ops.max_pool2d(Tensor(PLACES), 2), DTypeError, "max_pool2d needs floating-point"),
    "MaxPool2d": (lambda: nn.MaxPool2d(0), ArgumentError, "kernel_size must be an integer ≥ 1"),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, padding="SAME"), ArgumentError, "padding must be numbers"),
    # unpooling
    "unpool of an array": (lambda: ops.max_unpool2d(A, PLACES, 2), DTypeError, "max_unpool2d takes a Tensor as x, got"),
    "unpool of integers": (lambda: ops.max_unpool2d(Tensor(PLACES), PLACES, 2), DTypeError, "max_unpool2d needs float"),
    "places as numbers": (lambda: ops.max_unpool2d(IMAGE, IMAGE, 2), DTypeError,
                          r"max_unpool2d takes integers as indices, got float32 of shape \(1, 1, 5, 5\)"),
    "places of another shape": (lambda: ops.max_unpool2d(IMAGE, PLACES[0], 2), ShapeError,
                                r"max_unpool2d expects indices of the shape of x, .*, got shape \(1, 5, 5\)"),
    "ragged places": (lambda: ops.max_unpool2d(IMAGE, [[1], [1, 2]], 2), DTypeError, "max_unpool2d takes an array"),
    "place beyond the end": (lambda: ops.max_unpool2d(IMAGE, PLACES * 5, 2), ArgumentError,
                             r"max_unpool2d of x .* got index 100, but 10 × 10 has 100 places, from 0: .* without pad"),
    "place −2": (lambda: ops.max_unpool2d(IMAGE, PLACES - 2, 2), ArgumentError, "max_unpool2d of x .* got index -2"),
    "place 2⁶³": (lambda: ops.max_unpool2d(IMAGE, PLACES.astype("uint64") + 2**63, 2), ArgumentError, "got index 92"),
    "output_size": (lambda: ops.max_unpool2d(IMAGE, PLACES, 2, output_size=(12, 10)), ShapeError,
                    r"max_unpool2d of x \(1, 1, 5, 5\): no max_pool2d with kernel \(2, 2\), stride \(2, 2\), "
                    "padding 0 makes 5 × 5 of 12 × 10: give its options, and its input's size as output_size"),
    "output_size of two axes": (lambda: ops.max_unpool2d(IMAGE, PLACES, 2, output_size=10), ShapeError,
                                r"max_unpool2d of x .* takes output_size \(H, W\) or \(N, C, H, W\), got \(10,\)"),
    "output_size of others": (lambda: ops.max_unpool2d(IMAGE, PLACES, 2, output_size=(2, 1, 10, 10)), ShapeError,
                              r"max_unpool2d of x \(1, 1, 5, 5\) takes output_size .* got \(2, 1, 10, 10\)"),
    "output_size of text": (lambda: ops.max_unpool2d(IMAGE, PLACES, 2, output_size="a"), ShapeError, "max_unpool2d of"),
    "padded away": (lambda: ops.max_unpool2d(ones(1, 1, 1, 1), [[[[0]]]], 2, padding=1), ArgumentError, "0 × 0 has 0"),
    "nothing to unpool": (lambda: ops.max_unpool2d(ones(1, 1, 0, 2), np.zeros((1, 1, 0, 2), int), 2), ShapeError,
                          r"max_unpool2d of x \(1, 1, 0, 2\): no max_pool2d"),
    # adaptive
    "no bins": (lambda: ops.adaptive_avg_pool2d(IMAGE, 0), ArgumentError,
                r"adaptive_avg_pool2d takes output_size as an integer ≥ 1, or two .* None keeps the input's, got 0"),
    "bins None": (lambda: ops.adaptive_max_pool2d(IMAGE, None), ArgumentError, "adaptive_max_pool2d takes .* got None"),
    "three bins": (lambda: ops.adaptive_avg_pool2d(IMAGE, (1, 2, 3)), ArgumentError, r"takes output_size .*\(1, 2, 3"),
    "bins True": (lambda: nn.AdaptiveAvgPool2d(True), ArgumentError, "AdaptiveAvgPool2d takes output_size .* got True"),
    "bins of text": (lambda: nn.AdaptiveMaxPool2d("7"), ArgumentError, "AdaptiveMaxPool2d takes output_size .* '7'"),
    "bins 10⁹": (lambda: ops.adaptive_avg_pool2d(IMAGE, 10**9), ShapeError, "adaptive_avg_pool2d of .* would make"),
    "bins of nothing": (lambda: ops.adaptive_avg_pool2d(ones(1, 1, 0, 3), 1), ShapeError,
                        r"adaptive_avg_pool2d of x \(1, 1, 0, 3\) to 1 × 1: a bin of no elements has no value"),
    "global of nothing": (lambda: ops.global_max_pool2d(ones(1, 1, 3, 0)), ShapeError, "global_max_pool2d .* no elem"),
    "global of a matrix": (lambda: ops.global_avg_pool2d(X), ShapeError, r"global_avg_pool2d expects .* \(2, 3\)"),
    "global of integers": (lambda: ops.global_avg_pool2d(Tensor(PLACES)), DTypeError, "global_avg_pool2d needs float"),
    # flags
    "return_indices": (lambda: ops.max_pool2d(IMAGE, 2, return_indices=1), ArgumentError, "max_pool2d takes return"),
    "return_indices of bins": (lambda: ops.adaptive_max_pool2d(IMAGE, 2, "no"), ArgumentError, "adaptive_max_pool2d t"),
    "flags of MaxPool2d": (lambda: nn.MaxPool2d(2, ceil_mode="no"), ArgumentError, "MaxPool2d takes ceil_mode=True or"),
    "flags of AvgPool2d": (lambda: nn.AvgPool2d(2, count_include_pad=0), ArgumentError, "AvgPool2d takes count_inc"),
    "keepdims": (lambda: X.sum(0, "no"), ArgumentError, "sum takes keepdims=True or keepdims=False, got 'no'"),
    "keepdims 1": (lambda: X.mean(0, 1), ArgumentError, "mean takes keepdims=True or .* got 1"),
    "keepdims of max": (lambda: X.max(0, keepdims=None), ArgumentError, "max takes keepdims=True or .* got None"),
    "keepdims of min": (lambda: X.min(0, keepdims=[0]), ArgumentError, r"min takes keepdims=True or .* got \[0\]"),
    "training": (lambda: ops.dropout(X, 0.5, "eval"), ArgumentError, "dropout takes training=True or .* got 'eval'"),
    "ceil_mode": (lambda: ops.max_pool2d(IMAGE, 2, ceil_mode="no"), ArgumentError, "max_pool2d takes ceil_mode=True"),
    "ceil_mode 2": (lambda: ops.relu_max_pool2d(IMAGE, 2, ceil_mode=2), ArgumentError, "relu_max_pool2d takes ceil_mo"),
    "ceil_mode 0.5": (lambda: ops.avg_pool2d(IMAGE, 2, ceil_mode=0.5), ArgumentError, "avg_pool2d takes ceil_mode=Tr"),
    "count_include_pad": (lambda: ops.avg_pool2d(IMAGE, 2, count_include_pad="yes"), ArgumentError,
                          "avg_pool2d takes count_include_pad=True or count_include_pad=False, got 'yes'"),
    "bias of Linear": (lambda: nn.Linear(3, 2, "no"), ArgumentError, "Linear takes bias=True or bias=False, got 'no'"),
    "bias of Conv2d": (lambda: nn.Conv2d(1, 2, 3, bias=X), ArgumentError, "Conv2d takes bias=True or .* got Tensor"),
    "bias of ConvTranspose2d": (lambda: nn.ConvTranspose2d(1, 2, 3, bias=0), ArgumentError, "ConvTranspose2d takes b"),
    "mode": (lambda: nn.ReLU().train("eval"), ArgumentError, "train takes mode=True or mode=False, got 'eval'"),
    # activations, noise
    "relu6 of an array": (lambda: ops.relu6(A), DTypeError, "relu6 takes a Tensor as x, got ndarray"),
    "silu of integers": (lambda: ops.silu(INT), DTypeError, r"silu needs floating-point tensors, got int64 .* \(3,\)"),
    "elu of integers": (lambda: ops.elu(INT), DTypeError, r"elu needs floating-point tensors, got int64 .* \(3,\)"),
    "slope None": (lambda: ops.leaky_relu(X, None), ArgumentError,
                   "leaky_relu takes a finite number negative_slope, got None"),
    "slope ∞": (lambda: ops.leaky_relu(X, np.inf), ArgumentError, "leaky_relu takes a finite number .* got inf"),
    "slope too large for float32": (lambda: ops.leaky_relu(X, 1e300), ArgumentError, "leaky_relu takes .* got 1e"),
    "alpha": (lambda: ops.elu(X, -0.1), ArgumentError, "elu takes a finite number alpha ≥ 0, got -0.1"),
    "alpha NaN": (lambda: ops.elu(X, np.nan), ArgumentError, "elu takes a finite number alpha ≥ 0, got nan"),
    "beta": (lambda: ops.softplus(X, 0.0), ArgumentError, "softplus takes a finite number beta > 0, got 0.0"),
    "threshold": (lambda: ops.softplus(X, 1.0, "a"), ArgumentError, "softplus takes a finite number threshold"),
    "gelu of complex": (lambda: ops.gelu(Tensor(np.ones(2, complex))), DTypeError,
                        r"gelu takes real numbers, got complex128 of shape \(2,\)"),
    "floor of complex": (lambda: ops.floor(Tensor(np.ones(2, complex))), DTypeError, "floor takes real numbers"),
    "approximate": (lambda: ops.gelu(X, "erf"), ArgumentError, "gelu got approximate='erf': choose .* or"),
    "prelu weight": (lambda: ops.prelu(X, 0.25), DTypeError, "prelu takes a Tensor as weight, got float"),
    "prelu two slopes": (lambda: ops.prelu(X, ones(2)), ShapeError,
                         r"prelu of x \(2, 3\) takes a weight of shape \(1,\) or \(3,\), .* got shape \(2,\)"),
    "prelu without channels": (lambda: ops.prelu(ones(3), ones(3)), ShapeError,
                               r"prelu of x \(3,\) takes a weight of shape \(1,\), got shape \(3,\)"),
    "prelu dtypes": (lambda: ops.prelu(X, ones(3, dtype="float64")), DTypeError, "prelu got .* different precision"),
    "dropout of integers": (lambda: ops.dropout(INT, training=False), DTypeError, "dropout needs floating-point"),
    "dropout2d": (lambda: ops.dropout2d(X), ShapeError, r"dropout2d expects x of shape .*, got shape \(2, 3\)"),
    "dropout2d p": (lambda: ops.dropout2d(IMAGE, 1.5), ArgumentError, "dropout2d needs a probability .* got 1.5"),
    "depth p": (lambda: ops.stochastic_depth(X, -1), ArgumentError, "stochastic_depth needs a probability .* got -1"),
    "depth mode": (lambda: ops.stochastic_depth(X, 0.5, "rows"), ArgumentError, "stochastic_depth got mode='rows'"),
    "depth of a number": (lambda: ops.stochastic_depth(Tensor(1.0), 0.5), ShapeError,
                          r"stochastic_depth expects x of shape \(N, ...\), got shape \(\)"),
    "depth training": (lambda: ops.stochastic_depth(X, 0.5, "row", 1), ArgumentError, "depth takes training=True"),
    "LeakyReLU": (lambda: nn.LeakyReLU("a"), ArgumentError, "leaky_relu takes a finite number negative_slope, got 'a'"),
    "ELU": (lambda: nn.ELU(-1.0), ArgumentError, "elu takes a finite number alpha ≥ 0, got -1.0"),
    "Softplus": (lambda: nn.Softplus(-1.0), ArgumentError, "softplus takes a finite number beta > 0, got -1.0"),
    "GELU": (lambda: nn.GELU(True), ArgumentError, "gelu got approximate=True"),
    "PReLU": (lambda: nn.PReLU(0), ArgumentError, "PReLU needs num_parameters, an integer ≥ 1, got 0"),
    "PReLU init": (lambda: nn.PReLU(1, "a"), ArgumentError, "PReLU needs a finite number init, got 'a'"),
    "Dropout2d": (lambda: nn.Dropout2d(2), ArgumentError, "Dropout2d needs a probability p from 0 to 1, got 2"),
    "StochasticDepth": (lambda: nn.StochasticDepth(0.5, "r"), ArgumentError, "StochasticDepth got mode='r'"),
    # dtypes
    "concat shapes": (lambda: ops.concat([X, ones(3, 3)], 1), ShapeError,
                      r"concat along axis 1 got shapes \(2, 3\) and \(3, 3\): other axes must be equal"),
    "concat dimensions": (lambda: ops.concat([X, ones(2)]), ShapeError, r"shapes \(2, 3\) and \(2,\): other axes"),
    "sum twice": (lambda: X.sum((0, -2)), ShapeError, r"sum got axis \(0, -2\), which names one axis of shape .* tw"),
    "concat dtypes": (lambda: ops.concat([X, DOUBLE]), DTypeError, "concat got .* float32 of shape .* and float64"),
    "stack dtypes": (lambda: ops.stack([X, DOUBLE]), DTypeError, "stack got .* float32 of shape .* and float64"),
    "mse_loss dtypes": (lambda: ops.mse_loss(X, DOUBLE), DTypeError, "mse_loss got .* float32 of .* and float64"),
    "mse_loss integers": (lambda: ops.mse_loss(INT, INT), DTypeError, r"mse_loss needs floating-point .* \(3,\)"),
    "pow dtypes": (lambda: X**DOUBLE, DTypeError, "pow got tensors of different precision"),
    "minimum": (lambda: ops.minimum(INT, INT), DTypeError, "minimum needs floating-point tensors, got int64 of shape"),
    "min": (lambda: ops.min(INT), DTypeError, "min needs floating-point tensors, got int64 of shape"),
    "minus bool": (lambda: -BOOL, DTypeError, r"neg of a bool tensor of shape \(2, 3\)"),
    "bool − bool": (lambda: BOOL - BOOL, DTypeError, r"sub of bool tensors of shapes \(2, 3\) and \(2, 3\)"),
    "cast": (lambda: ops.cast(X, "U1"), DTypeError, r"cast of shape \(2, 3\) needs the dtype of numbers"),
    # normalisation
    "batch_norm of an array": (lambda: ops.batch_norm(A, None, None), DTypeError, "batch_norm takes a Tensor as x"),
    "batch_norm of a vector": (lambda: ops.batch_norm(ones(3), None, None), ShapeError,
                               r"batch_norm expects x of shape \(N, C, ...\), got shape \(3,\): the channels are"),
    "batch_norm of integers": (lambda: ops.batch_norm(Tensor(PLACES), None, None), DTypeError,
                               r"batch_norm needs floating-point tensors, got int64 of shape \(1, 1, 5, 5\)"),
    "running_mean of doubles": (lambda: ops.batch_norm(IMAGE, DOUBLE[0, :1], ones(1)), DTypeError,
                                r"batch_norm got tensors of different precision, .*: convert one with .to"),
    "weight of pixels": (lambda: ops.batch_norm(IMAGE, None, None, ones(5), training=True), ShapeError,
                         r"batch_norm of x \(1, 1, 5, 5\) needs a weight of shape \(1,\), got \(5,\)"),
    "statistics of None": (lambda: ops.batch_norm(IMAGE, None, None), ArgumentError,
                           r"batch_norm of x \(1, 1, 5, 5\) takes running_mean and running_var, or training"),
    "half of the statistics": (lambda: ops.batch_norm(IMAGE, ones(1), None, training=True), ArgumentError,
                               "batch_norm of x .* takes running_mean and running_var"),
    "training 1": (lambda: ops.batch_norm(IMAGE, ones(1), ones(1), training=1), ArgumentError,
                   "batch_norm takes training=True or training=False, got 1"),
    "one value a channel": (lambda: ops.batch_norm(ones(1, 3, 1, 1), None, None, training=True), ShapeError,
                            r"batch_norm in training needs at least two values a channel .* got 1: x has shape "
                            r"\(1, 3, 1, 1\); use a larger batch, or running statistics with training=False"),
    "empty batch in training": (lambda: nn.BatchNorm2d(3)(ones(0, 3, 2, 2)), ShapeError,
                                r"BatchNorm2d 3: batch_norm in training .* got 0: x has shape \(0, 3, 2, 2\)"),
    "momentum 2": (lambda: ops.batch_norm(IMAGE, ones(1), ones(1), momentum=2), ArgumentError,
                   "batch_norm takes a momentum from 0 to 1, the weight of the new value, got 2"),
    "momentum None": (lambda: ops.batch_norm(IMAGE, ones(1), ones(1), momentum=None), ArgumentError, "momentum.*None"),
    "eps 0": (lambda: ops.layer_norm(X, 3, eps=0), ArgumentError, "layer_norm takes eps above 0, so that .* got 0"),
    "eps NaN": (lambda: nn.BatchNorm2d(3, eps=np.nan), ArgumentError, "BatchNorm2d takes eps above 0, .* got nan"),
    "learnt statistics": (lambda: ops.batch_norm(IMAGE, nn.Parameter(A[:1]), ones(1)), GraphError,
                          "batch_norm: running_mean is changed in place, so it cannot require a gradient: .detach()"),
    "read-only statistics": (lambda: ops.batch_norm(IMAGE, ones(1), Tensor(np.broadcast_to(A, (1, 3))[0, :1]),
                                                    training=True), ArgumentError, "batch_norm .* which are read-only"),
    "residual": (lambda: ops.batch_norm_act(IMAGE, None, None, residual=X, training=True), ShapeError,
                 r"batch_norm_act of x \(1, 1, 5, 5\) needs a residual of shape \(1, 1, 5, 5\), got \(2, 3\)"),
    "activation": (lambda: ops.batch_norm_act(IMAGE, None, None, activation="tanh", training=True), ArgumentError,
                   "batch_norm_act got activation='tanh': choose \"relu\", \"relu6\" or None"),
    "BatchNorm2d of features": (lambda: nn.BatchNorm2d(3)(X), ShapeError,
                                r"BatchNorm2d 3: batch_norm expects x of shape \(N, 3, H, W\), got shape \(2, 3\)"),
    "BatchNorm1d of images": (lambda: nn.BatchNorm1d(1)(IMAGE), ShapeError,
                              r"batch_norm expects x of shape \(N, 1\) or \(N, 1, L\), got shape \(1, 1, 5, 5\)"),
    "BatchNorm2d 0": (lambda: nn.BatchNorm2d(0), ArgumentError, "BatchNorm2d takes num_features as an integer ≥ 1"),
    "BatchNorm2d momentum": (lambda: nn.BatchNorm2d(3, momentum="0.1"), ArgumentError, "momentum from 0 to 1, or None"),
    "frozen nothing": (lambda: nn.BatchNorm2d(3, track_running_stats=False, frozen=True), ArgumentError,
                       "BatchNorm2d has no running statistics to freeze: it has track_running_stats=False"),
    "groups of channels": (lambda: ops.group_norm(ones(2, 3, 4), 2), ShapeError,
                           r"group_norm: groups=2 must divide the 3 channels of \(2, 3, 4\)"),
    "batch_norm_act": (lambda: ops.batch_norm_act(ones(2, 3, 4), None, None, ones(2), training=True), ShapeError,
                       r"batch_norm_act of x \(2, 3, 4\) needs a weight of shape \(3,\), got \(2,\)"),
    "GroupNorm": (lambda: nn.GroupNorm(2, 3), ArgumentError, "GroupNorm: num_groups=2 must divide num_channels=3"),
    "GroupNorm of others": (lambda: nn.GroupNorm(2, 4)(IMAGE), ShapeError, r"expects x of shape \(N, 4, ...\), got"),
    "layer_norm over others": (lambda: ops.layer_norm(X, (2, 4)), ShapeError,
                               r"layer_norm over \(2, 4\) needs an x that ends in these sizes, got shape \(2, 3\)"),
    "layer_norm of integers": (lambda: ops.layer_norm(INT, 3), DTypeError, "layer_norm needs floating-point tensors"),
    "layer_norm over no axis": (lambda: ops.layer_norm(X, ()), ShapeError, r"layer_norm over \(\) needs"),
    "layer_norm over text": (lambda: ops.layer_norm(X, "3"), ShapeError, "layer_norm of shape .* got '3'"),
    "layer_norm bias": (lambda: ops.layer_norm(X, 3, bias=ones(2)), ShapeError,
                        r"layer_norm of x \(2, 3\) needs a bias of shape \(3,\), got \(2,\)"),
    "LayerNorm": (lambda: nn.LayerNorm(()), ArgumentError, "LayerNorm takes at least one axis as normalized_shape"),
    "window of no channels": (lambda: ops.local_response_norm(X, 0), ArgumentError,
                              "local_response_norm takes a size ≥ 1, an odd number as a rule, got 0"),
    "k 0": (lambda: ops.local_response_norm(X, 3, k=0), ArgumentError,
            r"local_response_norm of x \(2, 3\) takes k above 0, since an x of zeros would be divided by 0 .* got 0"),
    "alpha below 0": (lambda: nn.LocalResponseNorm(5, alpha=-1), ArgumentError, "takes alpha ≥ 0, got -1"),
    "divide_alpha": (lambda: ops.local_response_norm(X, 3, divide_alpha="n"), ArgumentError, "divide_alpha=True or"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_sentence_says_what_is_wrong(name):
    call, error, words = BAD[name]
    with pytest.raises(error) as caught:
        call()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert re.search(words, sentence), sentence


# A right call of every op; each argument in turn is replaced by what does not belong there.
RIGHT = {
    "argmax": (X, 0), "broadcast_to": (X, (2, 3)), "cast": (X, "float64"), "compare": (X, X, "less"),
    "concat": ([X, X], 0), "conv2d": (IMAGE, KERNEL, None, 1, 0, 1, 1), "conv2d_weight": (IMAGE, KERNEL, 3, 1, 0, 1, 1),
    "conv_transpose2d": (IMAGE, KERNEL, None, 1, 0, 0, 1, 1), "dropout": (X, 0.5),
    "expand_dims": (X, 0), "flatten": (X, 0), "getitem": (X, 0), "linear": (X, ones(2, 3), None),
    "log_softmax": (X, 0), "matmul": (X, ones(3, 2)), "max": (X, 0), "max_pool2d": (IMAGE, 2, 2, 0, 1),
    "avg_pool2d": (IMAGE, 2, 2, 0), "relu_max_pool2d": (IMAGE, 2, 2, 0, 1), "mean": (X, 0), "min": (X, 0),
    "mse_loss": (X, X, "mean"), "pad": (X, ((0, 1), (1, 0)), "constant", 0.0), "pow": (X, 2.0), "reshape": (X, 3, 2),
    "add_at": (X, slice(0, 2), (4, 3)), "softmax": (X, 0), "squeeze": (ones(1, 3), 0), "stack": ([X, X], 0),
    "sum": (X, 0), "sum_to": (X, (1, 3)), "to": (X, "float64"), "transpose": (X, 1, 0), "where": (BOOL, X, X),
}  # fmt: skip
RIGHT |= {
    "argmin": (X, 0), "broadcast_arrays": (X, X), "chunk": (X, 2, 1), "clip": (X, 0.0, 1.0), "flip": (X, 0),
    "einsum": ("ij,kj->ik", X, X), "interpolate": (IMAGE, 3), "resize": (IMAGE, 3, None, "bilinear", True),
    "logsumexp": (X, 0, True), "moveaxis": (X, 0, 1), "prod": (X, 0, True), "repeat": (X, 2, 0), "roll": (X, 1, 0),
    "split": (X, [1, 2], 1), "std": (X, 0, True, 1), "swapaxes": (X, 0, 1), "tile": (X, (2, 1)), "tril": (X, 1),
    "triu": (X, 1), "var": (X, 0, True, 1), "gather": (X, 1, [[0], [2]]), "take": (X, [0, 2], 1),
    "scatter_add": (X, 1, [[0], [2]], ones(2, 1)),
}  # fmt: skip
RIGHT |= {
    "dropout2d": (IMAGE, 0.5, True), "elu": (X, 1.0), "gelu": (X, "tanh"), "leaky_relu": (X, 0.1),
    "prelu": (X, ones(3)), "softplus": (X, 1.0, 20.0), "stochastic_depth": (X, 0.5, "row", True),
}  # fmt: skip
RIGHT |= {
    "conv2d_relu_max_pool2d": (IMAGE, KERNEL, None, 1, 0, 1, 1, 2, 2, 0, 1, False, True),
    "linear_relu": (X, ones(2, 3), None), "conv2d_act": (IMAGE, KERNEL, None, 1, 0, 1, 1, "relu6"),
}  # fmt: skip
RIGHT |= {name: (X,) for name in ("hard_sigmoid", "hard_swish", "mish", "relu6", "selu", "silu", "swish")}
RIGHT |= {name: (X,) for name in ("cos", "expm1", "floor", "log1p", "reciprocal", "round", "sign", "sin", "square")}
RIGHT |= {
    "max_pool2d": (IMAGE, 2, 2, 0, 1, False, False), "relu_max_pool2d": (IMAGE, 2, 2, 0, 1, False),
    "avg_pool2d": (IMAGE, 2, 2, 0, False, True), "max_unpool2d": (IMAGE, PLACES, 2, 2, 0, (1, 1, 11, 10)),
    "adaptive_avg_pool2d": (IMAGE, (2, None)), "adaptive_max_pool2d": (IMAGE, 2, False),
    "global_avg_pool2d": (IMAGE,), "global_max_pool2d": (IMAGE,),
}  # fmt: skip
RIGHT |= {
    "cross_entropy": (X, [0, 1], [1.0, 2.0, 0.5], -100, "mean", 0.1), "l1_loss": (X, X, "mean"),
    "nll_loss": (X, [0, 1], [1.0, 2.0, 0.5], -100, "mean"),
    "binary_cross_entropy_with_logits": (X, X, 2.0, "mean", [1.0, 2.0, 0.5]), "huber_loss": (X, X, "mean", 1.0),
    "sigmoid_focal_loss": (X, X, 0.25, 2.0, "mean"), "smooth_l1_loss": (X, X, "mean", 0.5),
}  # fmt: skip
RIGHT |= {name: (X, X) for name in ("add", "div", "maximum", "minimum", "mul", "sub")}
RIGHT |= {name: (X,) for name in ("abs", "exp", "log", "neg", "relu", "scaled_tanh", "sigmoid", "sqrt", "tanh")}
RIGHT |= {
    "batch_norm": (IMAGE, ones(1), ones(1), ones(1), None, True, 0.1, 1e-5),
    "layer_norm": (X, (3,), ones(3), None, 1.0),
    "batch_norm_act": (IMAGE, ones(1), ones(1), None, ones(1), IMAGE, "relu", True, 0.1, 1e-5),
    "group_norm": (X, 3, ones(3), ones(3), 1e-5), "local_response_norm": (X, 3, 1.0, 0.75, 1.0, True),
}  # fmt: skip
WRONG = [A, [1.0], None, "text", 2.0, {}, {1}, True, -1, 10**20, [[1], [1, 2]], object(), X, INT, BOOL, np.ones((2, 2)),
         Tensor(2.0), ones(0, 3), ones(2, 1, 3), np.float64(0.5), "same"]  # fmt: skip


def test_every_op_has_a_right_call():
    assert RIGHT.keys() == set(ops.__all__)
    for name, arguments in RIGHT.items():
        getattr(ops, name)(*arguments)


@pytest.mark.parametrize("name", ops.__all__)
def test_only_our_errors_come_out(name):
    op, right = getattr(ops, name), RIGHT[name]
    for position, wrong in itertools.product(range(len(right)), WRONG):
        arguments = (*right[:position], wrong, *right[position + 1 :])
        try:
            op(*arguments)
        except MinicnnError as error:
            assert "\n" not in str(error), arguments


@pytest.mark.parametrize("name", ops.__all__)
def test_only_our_errors_come_out_of_one_argument(name):
    """Python itself may find that an argument is missing."""
    for wrong in (np.ones(3), [1.0], None, "a", 2.0, {}):
        try:
            getattr(ops, name)(wrong)
        except MinicnnError:
            continue
        except TypeError as error:
            assert "missing" in str(error), wrong
        else:
            raise AssertionError(f"{name}({wrong!r}) was taken")


# --- what looks odd and is right --------------------------------------------------------------------------------------


def test_numpy_integers_are_integers():
    one, two = np.int64(1), np.int64(2)
    assert X.sum(axis=np.int64(0)).shape == (3,)
    assert X.reshape(np.int32(3), two).shape == (3, 2)
    assert X.transpose(one, np.int64(0)).shape == (3, 2)
    assert ops.conv2d(ones(1, 2, 5, 5), ones(2, 1, 3, 3), stride=one, groups=two).shape == (1, 2, 3, 3)
    assert ops.conv2d(IMAGE, KERNEL, stride=np.array([1, 2])).shape == (1, 1, 3, 2)
    assert ops.max_pool2d(IMAGE, two).shape == (1, 1, 2, 2)
    assert X.softmax(one).shape == ops.expand_dims(X, one).squeeze(one).shape


def test_numpy_numbers_are_numbers():
    """Compared with a limit of 10³⁰⁰, a float32 makes it a float32: ∞, with a warning."""
    half, wide = np.float32(0.5), ones(2, 4, dtype="float64")
    assert nn.BatchNorm2d(2, eps=half, momentum=np.float16(0.5)).momentum == 0.5
    assert ops.elu(-wide, half).dtype == ops.softplus(wide, half).dtype == ops.dropout(wide, half).dtype == "float64"
    assert X.var(correction=half).item() == 0
    assert ops.resize(IMAGE, scale_factor=(half, np.float64(2))).shape == (1, 1, 2, 10)
    assert ones(3, 50).repeat(np.int8(3)).shape == (450,)


def test_numpy_bools_are_flags():
    assert X.sum(0, keepdims=np.bool_(True)).shape == (1, 3)
    assert nn.Linear(3, 2, bias=np.False_).bias is None
    assert ops.dropout(X, 0.5, training=np.False_) is X


def test_arrays_and_numbers_beside_tensors():
    np.testing.assert_array_equal((X @ np.ones((3, 2), "float32")).data, np.full((2, 2), 3))
    np.testing.assert_array_equal((np.ones((4, 2), "float32") @ X).data, np.full((4, 3), 2))
    chosen = ops.where(np.array([True, False]), 1.0, 2.0)
    np.testing.assert_array_equal(chosen.data, np.float32([1, 2]))
    assert chosen.dtype == ops.where(BOOL, 1, 2).dtype == "float32"
    assert ops.mse_loss(ones(2), [0.0, 0.0]).item() == 1
    assert ops.mse_loss(ones(2), [0.0, 0.0]).dtype == "float32"


def test_integers_take_the_floating_dtype():
    assert (INT * 0.5).dtype == (0.5 * INT).dtype == ops.add(INT, [0.5, 1, 2]).dtype == "float32"
    assert (INT * 2).dtype == "int64"
    assert ops.concat([ones(2), INT]).dtype == ops.stack([ones(3), INT]).dtype == "float32"
    assert ops.concat([INT, INT]).dtype == "int64"


def test_no_output_channels():
    assert ops.conv2d(IMAGE, ones(0, 1, 3, 3)).shape == (1, 0, 3, 3)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_a_stride_beyond_the_input_costs_nothing(ceil_mode, device):
    """It has one output, like every stride from the input's length on; kernels must not allocate by the stride."""
    with minicnn.use(device):
        results = []
        for stride in (7, 2**31 - 1):
            x = Tensor(np.arange(25.0).reshape(1, 1, 5, 5), requires_grad=True)
            w = Tensor(np.arange(9.0).reshape(1, 1, 3, 3), requires_grad=True)
            y = ops.conv2d(x, w, stride=stride, padding=1).sum()
            y = y + ops.max_pool2d(x, 2, stride, ceil_mode=ceil_mode).sum() + ops.avg_pool2d(x, 2, stride).sum()
            y.backward()
            results.append((y.numpy(), x.grad.numpy(), w.grad.numpy()))
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
