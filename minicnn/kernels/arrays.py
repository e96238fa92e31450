"""Entries of what arrays do: arithmetic, reductions, shape, products. Their code is in reference/arrays.py."""

from .contents import kernel

# --- arithmetic: NumPy's broadcasting ---------------------------------------------------------------------------------


@kernel
def add(a, b):
    """a + b"""


@kernel
def sub(a, b):
    """a − b"""


@kernel
def mul(a, b):
    """a · b"""


@kernel
def div(a, b):
    """a / b"""


@kernel
def neg(x):
    """−x"""


@kernel
def power(x, exponent):
    """x to a Python number, or to the powers of an array that broadcasts."""


@kernel
def exp(x):
    """eˣ"""


@kernel
def log(x):
    """Natural logarithm."""


@kernel
def sqrt(x):
    """√x"""


@kernel
def absolute(x):
    """|x|"""


@kernel
def maximum(a, b):
    """The larger of a and b; NaN where either is NaN."""


@kernel
def minimum(a, b):
    """The smaller of a and b; NaN where either is NaN."""


@kernel
def log1p(x):
    """ln(1 + x), exact where x is tiny."""


@kernel
def expm1(x):
    """eˣ − 1, exact where x is tiny."""


@kernel
def sin(x):
    """Sine of radians."""


@kernel
def cos(x):
    """Cosine of radians."""


@kernel
def reciprocal(x):
    """1/x"""


@kernel
def floor(x):
    """The largest whole number ≤ x."""


@kernel
def rint(x):
    """The nearest whole number, the even one of two."""


@kernel
def where(condition, a, b):
    """a where condition (bool) holds, else b."""


@kernel
def compare(a, b, how):
    """bool array of a ? b, with `how` one of "less", "less_equal", "greater", "greater_equal", "equal", "not_equal"."""


# --- reductions: axis is a tuple of ints ------------------------------------------------------------------------------


@kernel
def sum(x, axis, keepdims):
    """Σ x over the axes."""


@kernel
def amax(x, axis, keepdims):
    """The largest x over the axes; NaN if there is one."""


@kernel
def argmax(x, axis):
    """Index of the first largest element along one axis, int64."""


@kernel
def argmin(x, axis):
    """Index of the first smallest element along one axis, int64."""


@kernel
def logsumexp(x, axis, keepdims):
    """ln Σ eˣ over the axes, without overflow; −∞ over no elements."""


# --- shape: views where NumPy gives views -----------------------------------------------------------------------------


@kernel
def copy(x):
    """The same elements in an array of their own."""


@kernel
def full(shape, value, dtype):
    """A new array filled with value."""


@kernel
def reshape(x, shape):
    """The same elements in row-major order."""


@kernel
def transpose(x, axes):
    """Axes permuted: a view."""


@kernel
def broadcast_to(x, shape):
    """x repeated along new axes and axes of size 1: a read-only view."""


@kernel
def getitem(x, index):
    """x[index], NumPy's rules."""


@kernel
def add_at(v, index, shape):
    """Zeros of `shape`, with v added at `index`, repeated positions accumulating: the adjoint of getitem."""


@kernel
def gather(x, index, axis):
    """x at positions index ≥ 0 along axis, index of the shape of x but there: NumPy's take_along_axis."""


@kernel
def scatter_add(v, index, axis, size):
    """Zeros of v's shape, but `size` along axis, with v added at positions index of v's shape: adjoint of gather."""


@kernel
def concat(arrays, axis):
    """The arrays one after the other along axis."""


@kernel
def pad(x, widths, value):
    """x with widths[i] = (before, after) elements of `value` around axis i."""


@kernel
def pad_with_copies(x, widths, mode):
    """x with widths[i] = (before, after) elements around axis i that mirror what is inside ("reflect", without the
    edge itself; widths below the axis's length) or repeat its edges ("edge")."""


@kernel
def fold_copies(gy, widths, mode):
    """What stands in the border added to where pad_with_copies took it from: its adjoint."""


@kernel
def roll(x, shifts, axes):
    """x moved by shifts[i] places along axes[i], around the end."""


@kernel
def cast(x, dtype):
    """x in another dtype."""


# --- linear -----------------------------------------------------------------------------------------------------------


@kernel
def matmul(a, b):
    """(..., M, K) · (..., K, N) -> (..., M, N); leading axes broadcast."""


@kernel
def einsum(x, others, formula):
    """x and a tuple of others, contracted as np.einsum does: explicit output, no name twice in a term, no "..."."""


@kernel
def linear(x, w, b, relu):
    """x (N, I), w (O, I), b (O,) | None -> y = x·wᵀ + b (N, O); with `relu` max(y, 0)."""


@kernel
def linear_gradient(gy, y, x, w, needs):
    """gy (N, O), y (N, O) if relu made it, else None, x (N, I), w (O, I) -> gx, gw, gb; None for what `needs` does not.

    x or w may be None if the gradient that takes it is not needed.
    """
