"""minicnn: a deep-learning engine from scratch, small enough to read in an afternoon.

    import minicnn
    x = minicnn.Tensor([[1.0, 2.0]], requires_grad=True)
    (x * x).sum().backward()
    x.grad                      # Tensor([[2., 4.]], dtype=float32)

tensor.py, function.py and autograd.py are the engine; ops/ what can be differentiated; kernels/ how it is computed.
"""

from . import amp, nn, ops, optim
from .amp import autocast
from .autograd import backward, grad
from .device import generator, manual_seed, use
from .errors import MinicnnError
from .function import Function, detect_anomaly, enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .gradcheck import gradcheck
from .kernels.cpu.threads import get_num_threads, set_num_threads
from .recompute import checkpoint
from .tensor import Tensor

__version__ = "0.1.0"

__all__ = [
    "Function", "MinicnnError", "Tensor", "amp", "autocast", "backward", "checkpoint", "detect_anomaly", "enable_grad",
    "generator", "get_num_threads", "grad", "gradcheck", "is_grad_enabled", "manual_seed", "nn", "no_grad", "ops",
    "optim", "set_grad_enabled", "set_num_threads", "use",
]  # fmt: skip
