"""What the float32 kernels of a GPU compute in: float32, or TF32 by choice of the process.

`use_tf32(True)` for convolutions (PyTorch's default), `use_tf32(True, products=True)` for linear layers and matmul too
(not PyTorch's default). `tf32_in_use()` reports the choice. cuda/tensor_cores.py says what TF32 is, and computes in it.
"""

from __future__ import annotations

_tf32 = {"convolutions": False, "products": False}


def use_tf32(convolutions: bool, products: bool = False) -> None:
    """From now on float32 convolutions, and matmul and linear layers if `products`, round their operands to TF32."""
    _tf32.update(convolutions=bool(convolutions), products=bool(products))


def tf32_in_use() -> dict[str, bool]:
    """Which float32 kernels round their operands to TF32."""
    return dict(_tf32)
