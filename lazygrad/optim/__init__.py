"""Optimizers and learning rate schedules, under PyTorch's names."""

from lazygrad.optim import lr_scheduler
from lazygrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from lazygrad.optim.optimizer import Optimizer
from lazygrad.optim.rms import Adadelta, Adagrad, RMSprop
from lazygrad.optim.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop",
           "lr_scheduler"]
