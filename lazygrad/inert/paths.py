"""PyTorch's paths of modules whose names stand in other modules here."""

from __future__ import annotations

import importlib
from typing import Any

# each path, and the modules that have its names, the first that has one counts; "" is the root
PATHS: dict[str, tuple[str, ...]] = {
    "optim._multi_tensor": ("optim",),
    "autograd.grad_mode": ("autograd",),
    "autograd.anomaly_mode": ("autograd",),
    "utils": ("utils.swapping",),
    "utils.checkpoint": ("utils.checkpoint_policy",),
    "utils.data": ("utils.data.datapipes",),
    "utils.data.datapipes.datapipe": ("utils.data.datapipes",),
    "cuda.memory": ("cuda",),
    "cuda.random": ("cuda",),
    "cuda.streams": ("cuda",),
    "cuda.amp.autocast_mode": ("amp",),
    "cuda.amp.grad_scaler": ("amp",),
    "cpu.amp": ("amp",),
    "cpu.amp.autocast_mode": ("amp",),
    "cpu.amp.grad_scaler": ("amp",),
    "accelerator.memory": ("accelerator",),
    "multiprocessing.spawn": ("multiprocessing",),
    "profiler.profiler": ("profiler",),
    "utils.tensorboard.writer": ("utils.tensorboard",),
    "jit._script": ("jit",),
    "jit._trace": ("jit",),
    "_tensor": ("",),
    "_VF": ("",),
    "_lowrank": ("",),
    "_linalg_utils": ("linalg", ""),
    "_refs": ("", "nn.functional"),
    "_refs.nn": (),
    "_refs.nn.functional": ("nn.functional",),
    "_refs.linalg": ("linalg",),
    "_refs.special": ("special",),
    "_C._nn": ("nn.functional", ""),
    "_C._linalg": ("linalg",),
    "_C._special": ("special",),
    "_C._VariableFunctions": ("",),
    "_functorch": ("func",),
    "_functorch.apis": ("func",),
    "_functorch.vmap": ("func",),
    "_functorch.eager_transforms": ("func",),
    "_functorch.functional_call": ("func",),
}


def elsewhere(module: str, name: str) -> Any:
    """What a name of one of the paths is. Raises AttributeError where no module has it."""
    for place in PATHS.get(module.removeprefix("lazygrad."), ()):
        found = importlib.import_module(f"lazygrad.{place}".rstrip("."))
        for asked in (name, name.removeprefix(f"{place}_")):  # linalg.det is called linalg_det within
            if hasattr(found, asked):
                return getattr(found, asked)
    raise AttributeError(name)
