"""The table of contents: every kernel an op may call, its arrays and its contract.

A kernel knows arrays, an op knows calculus: nothing here knows about gradients. Each entry is a name, a signature and
a contract, here for networks and in arrays.py for arrays; the code stands in the books of the devices:

    reference/     plain NumPy, for reading
    cpu/           NumPy + Numba, for speed
    cuda/          CUDA C++ on CuPy arrays

A call goes to the book of the device in force (device.book()); Function.apply chooses that device from its inputs.
Three rules hold for every kernel: inputs are never modified (the optimizer steps excepted, which say so), results
have the dtype of the floating-point inputs, and equal inputs give equal bytes.

Notation: N images, C → K channels, H × W → P × Q pixels, R × S taps; `window` is a window.Window.
"""

from .arrays import *  # noqa: F403
from .contents import CONTENTS, kernel  # noqa: F401

# --- convolution: the three faces of one trilinear form Σ gy[n,k,p,q] · w[k,c,r,s] · x[n,c,h,w] -----------------------


@kernel
def conv2d(x, w, b, window, groups):
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) | None -> y (N, K, P, Q)."""


@kernel
def conv2d_act(x, w, b, window, groups, cap):
    """min(max(conv2d(x, w, b, window, groups), 0), cap); cap may be ∞."""


@kernel
def conv_transpose2d(gy, w, b, window, groups, output_size):
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) | None -> gx (N, C, H, W) with (H, W) = output_size."""


@kernel
def conv2d_weight(x, gy, window, groups, bias):
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S), and with `bias` gb (K,), else None."""


@kernel
def conv2d_relu_max_pool2d(x, w, b, window, groups, pool):
    """relu_max_pool2d(conv2d(x, w, b, window, groups), pool) -> y and indices (N, K, P, Q)."""


@kernel
def conv2d_relu_max_pool2d_gradient(gy, indices, x, w, window, groups, pool, needs):
    """gy and indices (N, K, P, Q) -> gx, gw, gb; None for what `needs` does not name."""


# --- pooling ----------------------------------------------------------------------------------------------------------


@kernel
def max_pool2d(x, window):
    """x (N, C, H, W) -> y (N, C, P, Q) and indices (N, C, P, Q) int32: the flat position h·W + w of the first maximum
    of each window. NaN counts as largest. A window that sees padding only gives −∞ and index −1."""


@kernel
def relu_max_pool2d(x, window):
    """max_pool2d(relu(x), window), with index −1 where the result is not above 0: no gradient goes back from there."""


@kernel
def max_pool2d_scatter(gy, indices, size):
    """gx (N, C, H, W) with (H, W) = size: gy added at its index, −1 ignored. Adjoint of max_pool2d_gather."""


@kernel
def max_pool2d_gather(x, indices):
    """x (N, C, H, W) at the indices, (N, C, P, Q); 0 at index −1."""


@kernel
def avg_pool2d(x, window, count_include_pad):
    """x (N, C, H, W) -> y (N, C, P, Q): sums over windows divided by window.counts(...)."""


@kernel
def avg_pool2d_transpose(gy, window, count_include_pad, size):
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of avg_pool2d."""


@kernel
def max_unpool2d(x, indices, size):
    """x (N, C, P, Q) -> y (N, C, H, W) with (H, W) = size: zeros, and x put down at its index; where several have one
    index, the last of them. And the indices (int32) with −1 for those that were covered. Index −1 is ignored."""


@kernel
def adaptive_avg_pool2d(x, size):
    """x (N, C, H, W) -> y (N, C, P, Q) with (P, Q) = size: means over the bins of window.bins, none of them empty."""


@kernel
def adaptive_avg_pool2d_transpose(gy, size):
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of adaptive_avg_pool2d."""


@kernel
def adaptive_max_pool2d(x, size):
    """x (N, C, H, W) -> y and indices (N, C, P, Q) with (P, Q) = size: as max_pool2d, over the bins of window.bins."""


# --- resizing: rows and columns are Samplings, which say where each output reads --------------------------------------


@kernel
def resize2d(x, rows, columns):
    """x (N, C, H, W) -> y (N, C, P, Q), each a mixture of at most four of x. H, W, P, Q ≥ 1."""


@kernel
def resize2d_transpose(gy, rows, columns):
    """gy (N, C, P, Q) -> gx (N, C, H, W): the adjoint of resize2d."""


# --- activations and losses -------------------------------------------------------------------------------------------


@kernel
def relu(x):
    """max(x, 0); NaN stays NaN."""


@kernel
def relu_mask(g, y):
    """g where y > 0, else 0."""


@kernel
def tanh(x):
    """Hyperbolic tangent."""


@kernel
def sigmoid(x):
    """1 / (1 + e⁻ˣ), without overflow."""


@kernel
def relu6(x):
    """min(max(x, 0), 6); NaN stays NaN."""


@kernel
def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6; NaN stays NaN."""


@kernel
def clip_mask(g, y, low, high):
    """g where low < y < high (numbers), else 0."""


@kernel
def leak(g, x, slope):
    """g where x > 0, else slope·g. slope has one element, or one for each place along axis 1."""


@kernel
def elu(x, alpha, scale):
    """scale·x where x > 0, else scale·alpha·(eˣ − 1)."""


@kernel
def softplus(x, beta, threshold):
    """x where beta·x > threshold, else ln(1 + e^(beta·x)) / beta, without overflow."""


# Gates: f(x) = x·gate(x), and f_slope(g, x) = g·f′(x).


@kernel
def silu(x):
    """x / (1 + e⁻ˣ)"""


@kernel
def silu_slope(g, x):
    """g·f′(x)"""


@kernel
def gelu(x):
    """x·Φ(x), where Φ is the normal distribution: ½·(1 + erf(x/√2))."""


@kernel
def gelu_slope(g, x):
    """g·f′(x)"""


@kernel
def gelu_tanh(x):
    """x·½·(1 + tanh(√(2/π)·(x + 0.044715·x³)))"""


@kernel
def gelu_tanh_slope(g, x):
    """g·f′(x)"""


@kernel
def hard_swish(x):
    """x·min(max(x + 3, 0), 6) / 6"""


@kernel
def hard_swish_slope(g, x):
    """g·f′(x), taken as 0 at x = −3 and as 1 at x = 3."""


@kernel
def mish(x):
    """x·tanh(ln(1 + eˣ))"""


@kernel
def mish_slope(g, x):
    """g·f′(x)"""


@kernel
def softmax(x, axis):
    """eˣ / Σ eˣ along one axis, without overflow."""


@kernel
def log_softmax(x, axis):
    """x − log Σ eˣ along one axis, without overflow."""


@kernel
def sign(x):
    """−1, 0 or 1."""


# Logits z (N, C, ...), for each position one label (N, ...) int64, −1 for those that count for nothing; weight (C,), or
# None for 1; smoothing ε and divisor are numbers, but divisor None for 1. Together they say, in class_targets:


@kernel
def class_targets(shape, dtype, labels, weight, smoothing, divisor):
    """q (N, C, ...), what softmax(z) should be: ε/C·weight / divisor; at the label (1 − ε)·weight / divisor more."""


@kernel
def negative_log_likelihood(x, labels, weight, smoothing, divisor):
    """The losses −Σ q·x, summed over the classes, (N, ...); their sum, (), if there is a divisor. 0 · (−∞) is 0."""


@kernel
def softmax_cross_entropy(z, labels, weight, smoothing, divisor):
    """negative_log_likelihood of log_softmax(z)."""


@kernel
def softmax_cross_entropy_gradient(g, z, labels, weight, smoothing, divisor):
    """g (N, ...) or () -> g·(softmax(z)·Σ q − q), (N, C, ...), the sum over the classes."""


@kernel
def binary_cross_entropy(x, t, pos_weight):
    """pos_weight·t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ); pos_weight broadcasts to x, or is None for 1."""


@kernel
def sigmoid_focal_loss(x, yes, alpha, gamma):
    """With z = x where yes (bool), else −x:  α·(1 + e^z)^−gamma·ln(1 + e^−z), α = alpha[0] where yes, else alpha[1]."""


@kernel
def smooth_l1(d, beta):
    """d²/(2·beta) where |d| < beta, else |d| − beta/2."""


# --- normalisation ----------------------------------------------------------------------------------------------------


@kernel
def batch_norm(x, mean, var, w, b, residual, eps, cap):
    """x (N, C, ...), w and b (C,) | None, residual (shape of x) | None -> y = w·(x − mean)/√(var + eps) + b + residual,
    clipped to 0 ≤ y ≤ cap unless cap is None; mean and var (C,). These are given in double precision, or both None and
    taken over all axes but the second, which must have values: the biased variance. w and b may be wider than x, and
    y has the dtype of x."""


@kernel
def batch_norm_gradient(gy, x, y, w, mean, var, eps, cap):
    """gx (shape of x), gw, gb (C,) of batch_norm without given statistics, from gy and the mean and var that it gave.
    gw and gb have the dtype of w, if there is one. Unless cap is None, of gy only what lies where 0 < y < cap; if it is
    None, y may be."""


@kernel
def track_statistics(running_mean, running_var, mean, var, count, momentum):
    """running = (1 − momentum)·running + momentum·new, in place; the new variance is the unbiased one, of `count`."""


@kernel
def standardize(x, eps):
    """x (rows, n) -> (x − mean)/√(var + eps) (rows, n) and 1/√(var + eps) (rows, 1), the moments along the rows."""


@kernel
def channel_sum(x, before, after):
    """x (N, C, ...) -> Σ x[:, j] over the channels c − before ≤ j ≤ c + after that exist."""


@kernel
def local_response_norm(x, before, after, alpha, beta, k):
    """x·s^−beta with s = k + alpha·channel_sum(x², before, after)."""


@kernel
def local_response_norm_gradient(gy, x, before, after, alpha, beta, k):
    """gx of local_response_norm: gy·s^−beta − 2·alpha·beta·x·channel_sum(gy·x·s^(−beta−1), after, before)."""


# --- random numbers ---------------------------------------------------------------------------------------------------


@kernel
def random_bits(seed, call, n):
    """n words (uint32) of Philox4x32-10: key = seed (64 bits), counter = (block index, call), 64 bits each."""


@kernel
def dropout_mask(seed, call, p, shape, dtype):
    """1/(1 − p) where word i of random_bits(seed, call, ...) is at least p·2³², else 0: of element i in row-major
    order."""


# --- optimizer steps: these work in place -----------------------------------------------------------------------------


@kernel
def sgd_step(params, grads, velocities, fresh, lr, momentum, dampening, weight_decay, nesterov):
    """One step of SGD on all params, in place; so are velocities (none without momentum): one that is fresh, and holds
    zeros, becomes g."""


@kernel
def adam_step(params, grads, means, squares, lr, beta1, beta2, eps, weight_decay, decoupled, steps):
    """One step of Adam on all params, in place; means and squares (running averages of g and g²) are updated too.
    steps counts for each parameter how many it has had, this one included. decoupled: weight decay shrinks p by itself,
    and g has no part in it."""


@kernel
def rmsprop_step(params, grads, squares, velocities, lr, alpha, eps, momentum, weight_decay, tensorflow):
    """One step of RMSprop on all params, in place; squares (running averages of g²) and velocities (none without
    momentum) are updated too. tensorflow: eps stands inside the root, and the rate in velocities."""


@kernel
def unscale(arrays, factor):
    """Each array times a number, in place; and whether all results are finite, bool ()."""
