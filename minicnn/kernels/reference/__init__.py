"""The reference book: every kernel in plain NumPy, written to be read.

    arrays.py      arithmetic, reductions, shapes, products        functions.py   activations, softmax
    windows.py     convolution, pooling                            losses.py      cross-entropy
    steps.py       optimizers                                      noise.py       Philox
    adaptive.py    adaptive pooling, unpooling                     norm.py        normalisation
    resize.py      resizing                                        halves.py      16 bits

The other books must agree with this one to rounding; tests/ compare them, and compare this one with naive loops.
"""

from .adaptive import *  # noqa: F403
from .arrays import *  # noqa: F403
from .functions import *  # noqa: F403
from .losses import *  # noqa: F403
from .noise import *  # noqa: F403
from .norm import *  # noqa: F403
from .resize import *  # noqa: F403
from .steps import *  # noqa: F403
from .windows import *  # noqa: F403
