"""Optimizers and learning rate schedules, under PyTorch's names."""

from lazygrad.helpers import add_paths
from lazygrad.optim import adam, factored, lr_scheduler, rms, sign, swa_utils
from lazygrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam, SparseAdam
from lazygrad.optim.factored import Adafactor, Muon
from lazygrad.optim.lbfgs import LBFGS
from lazygrad.optim.optimizer import Optimizer
from lazygrad.optim.rms import Adadelta, Adagrad, RMSprop
from lazygrad.optim.sgd import SGD
from lazygrad.optim.sign import ASGD, Lion, Rprop

add_paths(__name__, {
    **dict.fromkeys(("adamax", "adamw", "nadam", "radam", "sparse_adam"), (adam,)),
    **dict.fromkeys(("adadelta", "adagrad", "rmsprop"), (rms,)),
    **dict.fromkeys(("asgd", "rprop"), (sign,)),
    **dict.fromkeys(("_adafactor", "_muon"), (factored,)),
})

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "SparseAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
