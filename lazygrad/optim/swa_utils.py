"""Averages of models over training: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.nn.functional.multi_head import ExpectationError
from lazygrad.nn.module import Module
from lazygrad.nn.norm import _BatchNorm
from lazygrad.optim.lr_scheduler.base import LRScheduler
from lazygrad.optim.settings import plain
from lazygrad.tensors import Tensor

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ArgumentError(
            f"[swa_utils] Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay * average + (1 - decay) * current."""
    _check_decay(decay)

    @lazygrad.no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Average:
    """The mean of all so far."""

    @lazygrad.no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def _multi(average: Average) -> MultiAverage:
    @lazygrad.no_grad()
    def update(averaged_params: list[Tensor], current_params: list[Tensor], num_averaged: Any) -> None:
        for averaged, current in zip(averaged_params, current_params, strict=True):
            averaged.copy_(average(averaged, current, num_averaged))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """get_ema_avg_fn for lists, in place."""
    return _multi(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> MultiAverage:
    """get_swa_avg_fn for lists, in place."""
    return _multi(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters are averages: `update_parameters(model)` takes the model's in.

    The first update copies. `avg_fn(average, current, number)` gives the new average, the mean if not given;
    `multi_avg_fn` does so for lists, in place. Buffers are averaged with `use_buffers`, else copied.
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ExpectationError("[AveragedModel] Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", lazygrad.tensor(0, dtype=lazygrad.int64, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    @lazygrad.no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take a model's parameters into the averages."""

        def averaged_of(module: Module) -> list[Tensor]:
            tensors = (
                chain(module.parameters(), module.buffers()) if self.use_buffers else module.parameters()
            )
            return [t.detach() for t in tensors]

        averaged = averaged_of(self.module)
        current = [t.to(own.device) for t, own in zip(averaged_of(model), averaged, strict=True)]
        number = int(self.n_averaged)
        if not number:
            for own, other in zip(averaged, current, strict=True):
                own.copy_(other)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(averaged, current, self.n_averaged)
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for own, other in zip(averaged, current, strict=True):
                own.copy_(average(own, other, self.n_averaged.to(own.device)))
        if not self.use_buffers:
            for own, other in zip(self.module.buffers(), model.buffers(), strict=True):
                own.detach().copy_(other.detach().to(own.device))
        self.n_averaged += 1
        lazygrad.realize(*averaged, *self.buffers())


@lazygrad.no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's batch norms anew, as means over all batches of a loader."""
    momenta = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for norm in momenta:
        norm.reset_running_stats()
        norm.momentum = None
    for batch in loader:
        input = batch[0] if isinstance(batch, list | tuple) else batch
        model(input if device is None else input.to(device))
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    model.train(was_training)


_ANNEAL: dict[str, Callable[[float], float]] = {
    "cos": lambda t: (1 - math.cos(math.pi * t)) / 2,
    "linear": lambda t: t,
}


class SWALR(LRScheduler):
    """Goes to the rate `swa_lr` over `anneal_epochs`, along a cosine or a line, and stays there."""

    def __init__(
        self,
        optimizer: Any,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, list | tuple) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise ArgumentError(
                "[SWALR] swa_lr must have the same length as optimizer.param_groups: swa_lr has "
                f"{len(rates)}, optimizer.param_groups has {len(groups)}."
            )
        for group, rate in zip(groups, rates, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in _ANNEAL:
            raise ArgumentError(
                f"[SWALR] anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"[SWALR] anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: float) -> float:
        return _ANNEAL[self._anneal_strategy](max(0.0, min(1.0, step / max(1, self.anneal_epochs))))

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at the step now, from the one before, of which the share of swa_lr is taken out."""
        step = self._step_count - 1
        step = max(1, step) if self.anneal_epochs == 0 else step
        before, now = self._share(step - 1), self._share(step)
        lr, goal = plain(group["lr"]), plain(group["swa_lr"])
        start = goal if before == 1 else (lr - before * goal) / (1 - before)
        return goal * now + start * (1 - now)
