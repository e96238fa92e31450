"""optim: optimizers, learning-rate schedules and averages of weights, with PyTorch's names."""

from . import lr_scheduler
from .adam import Adam, AdamW
from .average import ExponentialMovingAverage
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "ExponentialMovingAverage", "Optimizer", "RMSprop", "lr_scheduler"]
