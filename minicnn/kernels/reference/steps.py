"""Optimizer steps: these work in place."""

from __future__ import annotations

import numpy as np


def sgd_step(params, grads, velocities, fresh, lr, momentum, dampening, weight_decay, nesterov):
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        if weight_decay:
            g = g + weight_decay * p
        if momentum:
            velocity = velocities[i]
            if fresh[i]:
                velocity[...] = g
            else:
                velocity *= momentum
                velocity += g if dampening == 0 else (1 - dampening) * g
            g = g + momentum * velocity if nesterov else velocity
        p -= lr * g


def adam_step(params, grads, means, squares, lr, beta1, beta2, eps, weight_decay, decoupled, steps):
    for p, g, mean, square, step in zip(params, grads, means, squares, steps, strict=True):
        if weight_decay and decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        mean *= beta1
        mean += (1 - beta1) * g
        square *= beta2
        square += (1 - beta2) * g * g
        unbiased_mean = mean / (1 - beta1**step)
        unbiased_square = square / (1 - beta2**step)
        p -= lr * unbiased_mean / (np.sqrt(unbiased_square) + eps)


def unscale(arrays, factor):
    finite = True
    for array in arrays:
        array *= array.dtype.type(factor)
        finite &= bool(np.isfinite(array).all())
    return np.bool_(finite)


def rmsprop_step(params, grads, squares, velocities, lr, alpha, eps, momentum, weight_decay, tensorflow):
    for i, (p, g, square) in enumerate(zip(params, grads, squares, strict=True)):
        if weight_decay:
            g = g + weight_decay * p
        square *= alpha
        square += (1 - alpha) * g * g
        scaled = g / (np.sqrt(square + eps) if tensorflow else np.sqrt(square) + eps)
        step = lr * scaled if tensorflow else scaled
        if momentum:
            velocity = velocities[i]
            velocity *= momentum
            velocity += step
            step = velocity
        p -= step if tensorflow else lr * step
