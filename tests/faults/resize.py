"""Faults of resizing."""

from __future__ import annotations

import numpy as np

from minicnn.kernels import cpu, reference
from minicnn.kernels.sampling import Sampling
from minicnn.ops.resize import Resize, ResizeTranspose

from .planting import Fault, attribute, backward

taps, bands = Sampling.taps.__wrapped__, Sampling.bands.__wrapped__


def rounded(self):
    """The pixel nearest to p·step, counted from the corner, as if it were the middle."""
    low, high, share = taps(self)
    if self.mode != "nearest":
        return low, high, share
    p = np.arange(self.outputs)
    low = np.minimum(np.rint(p * float(self.step)).astype(int), self.inputs - 1)
    return low, low, share


def conventions_mixed_up(self):
    return taps(self._replace(align_corners=not self.align_corners))


def half_a_pixel_off(self):
    """p·step for (p + ½)·step − ½."""
    if self.mode == "nearest" or self.align_corners:
        return taps(self)
    place = np.minimum(np.arange(self.outputs) * float(self.step), self.inputs - 1)
    low = place.astype(int)
    return low, np.minimum(low + 1, self.inputs - 1), place - low


def extrapolated(self):
    """Before the first middle and behind the last one the line through the two outermost pixels goes on."""
    if self.mode == "nearest" or self.align_corners or self.inputs == 1:
        return taps(self)
    place = (np.arange(self.outputs) + 0.5) * float(self.step) - 0.5
    low = np.clip(np.floor(place).astype(int), 0, self.inputs - 2)
    return low, low + 1, place - low


def sides_swapped(self):
    low, high, share = taps(self)
    return high, low, share


def step_from_sizes(self):
    """H/P also where a scale_factor is given."""
    return taps(self._replace(step=type(self.step)(self.inputs, self.outputs)))


def assigning(gy, rows, columns):
    """gx[low] = ... where it should be +=."""
    for axis, sampling in ((3, columns), (2, rows)):
        low, high, share = sampling.taps()
        share = share.reshape([-1 if a == axis else 1 for a in range(4)]).astype(gy.dtype)
        gx = np.zeros((*gy.shape[:axis], sampling.inputs, *gy.shape[axis + 1 :]), gy.dtype)
        before = (slice(None),) * axis
        gx[(*before, high)] = gy * share
        gx[(*before, low)] = gy * (1 - share)
        gy = gx
    return gy


def resized_back(self, gy):
    """The gradient resized to the old size, as an image would be."""
    rows, columns = (s._replace(inputs=s.outputs, outputs=s.inputs, step=1 / s.step) for s in (self.rows, self.columns))
    return Resize.apply(gy, rows=rows, columns=columns)


def narrow_band(self, transposed):
    """No more than two outputs are thought to read one input."""
    start, weights = bands(self, transposed)
    return start, weights[:, :2].copy()


RESIZING = (
    Fault("nearest rounds to the nearest", "resize", "what the name says; PyTorch's nearest-exact is another mode",
          attribute(Sampling, "taps", rounded), "forward_is_the_oracle"),
    Fault("conventions for corners mixed up", "resize", "ports between frameworks whose defaults differ",
          attribute(Sampling, "taps", conventions_mixed_up), "forward_is_the_oracle"),
    Fault("half a pixel forgotten", "resize", "TensorFlow 1, before half_pixel_centers",
          attribute(Sampling, "taps", half_a_pixel_off), "forward_is_the_oracle"),
    Fault("goes on beyond the outermost middles", "resize", "places that are not kept inside of the image",
          attribute(Sampling, "taps", extrapolated), "forward_is_the_oracle"),
    Fault("shares of the two sides swapped", "resize", "t for 1 − t, invisible halfway between",
          attribute(Sampling, "taps", sides_swapped), "forward_is_the_oracle"),
    Fault("step from the sizes, not from the factor", "resize", "PyTorch's recompute_scale_factor",
          attribute(Sampling, "taps", step_from_sizes), "forward_is_the_oracle"),
    Fault("adjoint assigns", "resize", "a pixel that several read",
          attribute(reference, "resize2d_transpose", assigning), "gradient_is_the_derivative"),
    Fault("gradient resized back like an image", "resize", "right for a factor of 1",
          backward(Resize, resized_back), "gradient_is_the_derivative"),
    Fault("gradient of the gradient by the adjoint again", "resize", "the transposed op taken to be its own inverse",
          backward(ResizeTranspose, lambda self, v: ResizeTranspose.apply(
              v, **{name: s._replace(inputs=s.outputs, outputs=s.inputs, step=1 / s.step)
                    for name, s in (("rows", self.rows), ("columns", self.columns))})), "second_derivative"),
    Fault("the adjoint gathers from two outputs at most", "resize", "a band as wide as forward's",
          attribute(Sampling, "bands", narrow_band), "device_equals_reference", device="cpu"),
    Fault("rows and columns exchanged", "resize", "tests with square images",
          attribute(cpu, "resize2d", lambda x, rows, columns: reference.resize2d(
              x.transpose(0, 1, 3, 2), columns, rows).transpose(0, 1, 3, 2) if x.shape[2] != x.shape[3]
                    else reference.resize2d(x, columns, rows)), "device_equals_reference", device="cpu"),
)  # fmt: skip
