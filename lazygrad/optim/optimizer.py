"""`Optimizer`: parameter groups, state, saving and loading; and the loop that most optimizers share."""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any, Generic, TypeVar

import lazygrad
from lazygrad import ops
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, MissingError
from lazygrad.graph import Node
from lazygrad.hooks import HookTable, RemovableHandle, hook_table, register
from lazygrad.optim.settings import plain
from lazygrad.optim.term import Term
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import from_node
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.promotion import converted
from lazygrad.tensors.realization import settle_constant
from lazygrad.tensors.recording import at_each_run, host_choice, host_numbers, set_host_value

Value = TypeVar("Value", Tensor, Term)


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


_of_all_before, _of_all_after = hook_table(), hook_table()  # hooks of every optimizer's steps


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(optimizer, args, kwargs)` before each step of every optimizer; it may return new ones."""
    return register(_of_all_before, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(optimizer, args, kwargs)` after each step of every optimizer."""
    return register(_of_all_after, hook)


def _with_hooks(step: Callable) -> Callable:
    """`step` with the optimizer's hooks before and after it, counted so that schedulers can check the
    order."""

    @functools.wraps(step)
    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if "_optimizer_step_pre_hooks" not in vars(self):  # it wraps another, without the constructor above
            return step(self, *args, **kwargs)
        for hook in [*_of_all_before.values(), *self._optimizer_step_pre_hooks.values()]:
            result = hook(self, args, kwargs)
            if result is not None:
                args, kwargs = result
        at_each_run(self._count_step)
        outcome = step(self, *args, **kwargs)
        for hook in [*self._optimizer_step_post_hooks.values(), *_of_all_after.values()]:
            hook(self, args, kwargs)
        return outcome

    run._hooked = True  # type: ignore[attr-defined]
    return run


class Optimizer(Guarded):
    """Parameters in groups, each with its own settings, and what an optimizer remembers of each parameter.

    Subclasses give `defaults` and define `step`.
    """

    _hook_tables = tuple(f"_optimizer_{of}_{when}_hooks" for of in ("step", "state_dict", "load_state_dict")
                         for when in ("pre", "post"))
    state: defaultdict[Any, dict[str, Any]]
    param_groups: list[dict[str, Any]]
    _steps_taken = 0
    _guarded = ("__init__", "add_param_group", "load_state_dict")
    _optimizer_step_pre_hooks: HookTable
    _optimizer_step_post_hooks: HookTable
    _optimizer_state_dict_pre_hooks: HookTable
    _optimizer_state_dict_post_hooks: HookTable
    _optimizer_load_state_dict_pre_hooks: HookTable
    _optimizer_load_state_dict_post_hooks: HookTable

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("step")
        if own is not None and not getattr(own, "_hooked", False):
            cls.step = _with_hooks(own)  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._set_up()
        if isinstance(params, Tensor):
            raise ArgumentTypeError(
                "[optimizer] params argument given to the optimizer should be an iterable of Tensors or "
                "dicts, "
                f"but got {type(params).__name__}"
            )
        groups = list(params)
        if not groups:
            raise ArgumentError("[optimizer] optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _count_step(self) -> None:
        self._steps_taken += 1

    # PyTorch's names, which optimizers of others call: nothing has to be prepared here

    def _patch_step_function(self) -> None:
        pass

    _optimizer_step_code = _cuda_graph_capture_health_check = _patch_step_function
    _accelerator_graph_capture_health_check = _patch_step_function

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """The function."""
        return func

    def _replay_structure(self) -> Any:
        """What a recorded step depends on beside numbers, which it reads anew: flags, and which tensors there
        are."""
        flags = [[v for v in group.values() if v is None or v is True or v is False]
                 for group in self.param_groups]
        counts = len(self.state), len(self._optimizer_step_pre_hooks), len(self._optimizer_step_post_hooks)
        groups = [(id(group), id(group["params"]), len(group["params"])) for group in self.param_groups]
        return id(self.state), id(self.param_groups), counts, groups, flags

    def _replay_places(self) -> list[tuple[Any, Any]]:
        places: list[tuple[Any, Any]] = [(self.state, param) for param in self.state]
        for group in self.param_groups:
            places += [(group["params"], i) for i in range(len(group["params"]))]
        return places

    def _set_up(self) -> None:
        for name in self._hook_tables:
            self.__dict__.setdefault(name, hook_table())
        self.__dict__.setdefault("_steps_taken", 0)
        self.__dict__.setdefault("state", defaultdict(dict))
        self.__dict__.setdefault("param_groups", [])

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for place, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {place}")
            lines.extend(f"    {key}: {group[key]}" for key in sorted(group) if key != "params")
        return "\n".join([*lines, ")"])

    # Hooks

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Run `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Run `hook(optimizer, args, kwargs)` after each step."""
        return register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run `hook(optimizer)` before state_dict."""
        return register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run `hook(optimizer, state_dict)` after state_dict; it may return another one."""
        return register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run `hook(optimizer, state_dict)` before loading; it may return another one."""
        return register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run `hook(optimizer)` after loading."""
        return register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # Groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own: `{"params": tensors, "lr": 0.1}`; others come from the
        defaults."""
        if not isinstance(param_group, dict):
            raise ArgumentTypeError(f"[optimizer] param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise ArgumentTypeError(
                "[optimizer] optimizer parameters should be ordered collections, but the ordering of "
                "tensors in "
                "sets will change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        named = [isinstance(p, tuple) for p in params]
        if any(named):
            if not all(named):
                raise ArgumentError(
                    "[optimizer] all optimizer params should be with/without names. Some param names are "
                    "missing"
                )
            param_group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        for param in params:
            if not isinstance(param, Tensor):
                raise ArgumentTypeError("[optimizer] optimizer can only optimize Tensors, but one of the "
                                        "params is "
                                        f"{type(param).__name__}")
            if not (self.defaults.get("differentiable") or param.is_leaf or param.retains_grad):
                raise ArgumentError("[optimizer] can't optimize a non-leaf Tensor")
        param_group["params"] = params
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ArgumentError(
                    f"[optimizer] parameter group didn't specify a value of required optimization "
                    f"parameter {name}"
                )
            param_group.setdefault(name, default)
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                "an error",
                stacklevel=3,
            )
        with_names = "param_names" in param_group
        if any(("param_names" in group) != with_names for group in self.param_groups):
            raise ArgumentError(
                "[optimizer] all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if with_names else 'without'} names to the optimizer"
            )
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ArgumentError("[optimizer] some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.grad = None if set_to_none else lazygrad.zeros_like(param.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once; every optimizer defines it. Returns what `closure` returned."""
        raise MissingError(f"[optim] {type(self).__name__} does not define step")

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: state}, "param_groups": [...]}, parameters replaced by their numbers."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        for param in chain.from_iterable(group["params"] for group in self.param_groups):
            numbers.setdefault(id(param), len(numbers))
        groups = [{**{key: value for key, value in group.items() if key != "params"},
                   "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the settings and states of a state_dict; states get the device and (floats) dtype of their
        parameter."""
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ArgumentError("[optimizer] loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved, strict=True)):
            raise ArgumentError("[optimizer] loaded state dict contains a parameter group that doesn't "
                                "match the size of "
                                "optimizer's group")
        params = dict(zip(chain.from_iterable(s["params"] for s in saved),
                          chain.from_iterable(g["params"] for g in groups), strict=True))
        state: defaultdict = defaultdict(dict)
        for key, value in state_dict["state"].items():
            state[params.get(key, key)] = _fitted(value, params[key]) if key in params else value
        for group, fresh in zip(groups, saved, strict=True):
            fresh["params"] = group["params"]
            if "param_names" in group:
                fresh["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)


def _fitted(value: Any, param: Tensor, key: str | None = None) -> Any:
    """A saved state as its parameter needs it; the count of steps stays as it is."""
    if isinstance(value, Tensor):
        if key == "step":
            return value.clone()
        dtype = param.dtype if param.is_floating_point() else value.dtype
        return value.detach().clone().to(device=param.device, dtype=dtype)
    if isinstance(value, dict):
        return {k: _fitted(v, param, k) for k, v in value.items()}
    return type(value)(_fitted(v, param) for v in value) if isinstance(value, list | tuple) else value


class Numbers(Generic[Value]):
    """Settings of one step as 0-d tensors or terms: data, so that a schedule changes no kernel, and is seen
    by replays of a recorded step."""

    def __init__(self, dtype: DType, device: str, kind: Callable[[Node, str], Value]) -> None:
        self.dtype, self.device = dtype, device
        self._kind: Callable[[Node, str], Value] = kind
        self._made: dict[Any, Value] = {}

    def __call__(self, value: float) -> Value:
        """A number that never changes."""
        if value not in self._made:
            self._made[value] = self._kind(ops.scalar(value, self.dtype), self.device)
        return self._made[value]

    def all(self, compute: Callable[[], Sequence[float]]) -> list[Value]:
        """Numbers that Python computes at each step; `compute` may count."""
        return [self._kind(node, self.device) for node in host_numbers(compute, self.dtype)]

    def of(self, group: dict[str, Any], name: str, change: Callable[[Any], float] = plain) -> Value:
        """A setting of a group, or what `change` makes of it."""
        key = id(group), name, change
        if key not in self._made:
            (self._made[key],) = self.all(lambda: (change(group[name]),))
        return self._made[key]


def is_set(group: dict[str, Any], name: str, test: Callable[[Any], bool] = lambda x: plain(x) != 0) -> bool:
    """A decision by a setting: whether it is other than 0, or what `test` says of it."""
    return host_choice((id(group), name, test), lambda: test(group[name]))


class ParameterwiseOptimizer(Optimizer):
    """An optimizer that updates each parameter from its own gradient and state: `update` says how."""

    # in which groups list the settings, where not in that of the arguments
    order = ""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(params, {name: defaults[name] for name in self.order.split() or defaults})

    def update(
        self, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any], number: Numbers[Any]
    ) -> Any:
        """The parameter's new value; changes `state`. Values are float32 or wider, `number` makes settings
        into data."""
        raise MissingError(f"[optim] {type(self).__name__} does not define update")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns the closure's loss. With `differentiable`, new
        values are functions of the old ones and of the gradients that can be differentiated.

        All new values, and the loss and buffers that were computed on the way to them, are realized together.
        """
        loss = None
        if closure is not None:
            with lazygrad.enable_grad():
                loss = closure()
        changed: list[Tensor] = []
        numbers: dict[Any, Numbers[Any]] = {}
        with lazygrad.set_grad_enabled(self._differentiable):
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        # 16-bit parameters are updated in float32 and rounded once
                        dtype = param.dtype if param.dtype.itemsize >= 4 else lazygrad.float32
                        kind = dtype, param.cell.device
                        if kind not in numbers:
                            numbers[kind] = self._numbers(*kind)
                        self._update_one(param, group, numbers[kind])
                        changed.append(param)
                        changed += [v for v in self.state.get(param, {}).values() if isinstance(v, Tensor)]
        lazygrad.realize(*changed)
        return loss

    @property
    def _differentiable(self) -> bool:
        return bool(self.defaults.get("differentiable"))

    def _numbers(self, dtype: DType, device: str) -> Numbers[Any]:
        return Numbers(dtype, device, from_node)

    def _update_one(self, param: Tensor, group: dict[str, Any], number: Numbers[Any]) -> None:
        """Update one parameter and its state."""
        state, dtype = self.state.get(param, {}), number.dtype
        grad = param.grad.to(dtype)
        grad = -grad if group.get("maximize") else grad
        before = param if self._differentiable else param.detach()
        param.copy_(self.update(before.to(dtype), grad, state, group, number))
        for key, kept in state.items():
            if isinstance(kept, Tensor) and key != "step":
                state[key] = kept.to(param.dtype)
        self._keep(param, state)

    def _keep(self, param: Tensor, state: dict[str, Any]) -> None:
        # what remembers nothing has no state
        if state:
            self.state[param] = state


class ElementwiseOptimizer(ParameterwiseOptimizer):
    """An optimizer whose `update` looks at each element by itself: it computes with terms in place of
    tensors."""

    def _numbers(self, dtype: DType, device: str) -> Numbers[Any]:
        return super()._numbers(dtype, device) if self._differentiable else Numbers(dtype, device, Term)

    def _update_one(self, param: Tensor, group: dict[str, Any], number: Numbers[Any]) -> None:
        if self._differentiable:
            return super()._update_one(param, group, number)
        state, dtype = self.state.get(param, {}), number.dtype
        grad = Term.of(param.grad, dtype)
        grad = -grad if group.get("maximize") else grad
        try:
            value = self.update(Term.of(param, dtype), grad, state, group, number)
        finally:  # whatever happens, a state holds tensors
            for key, kept in state.items():
                if isinstance(kept, Term):
                    state[key] = kept.tensor(param.dtype)
        self._keep(param, state)
        param.write(converted(value.node, param.dtype), "step", replaces=True)


def kept_or_zeros(state: dict[str, Any], key: str, like: Value) -> Value:
    """What a state keeps, as `like` is and in its dtype; zeros of its shape at first."""
    kept = state.get(key)
    if kept is None:
        kept = lazygrad.zeros(like.shape, dtype=like.dtype, device=like.device)
        settle_constant(kept.cell)
    return kept.to(like.dtype) if isinstance(like, Tensor) else Term.of(kept, like.dtype)


def next_step(state: dict[str, Any]) -> float:
    """The number of this step, counted in state["step"], a 0-d tensor as PyTorch keeps it."""
    count = plain(state.get("step", 0.0)) + 1.0
    keep_number(state, "step", count)
    return count


def keep_number(state: dict[str, Any], key: str, value: float) -> None:
    """Keep a number that Python counts in a state, as a 0-d tensor: float32, or float64 if that is the
    default."""
    if key not in state or state[key].ndim:
        default = lazygrad.get_default_dtype()
        dtype = default if default is lazygrad.float64 else lazygrad.float32
        state[key] = lazygrad.tensor(value, dtype=dtype, device="cpu")
    set_host_value(state[key], value)


def lerp(start: Value, end: Value, weight: Value, keep: Value, is_small: bool) -> Value:
    """start + weight * (end - start), rounded as PyTorch's lerp rounds it: `keep` is 1 - weight, `is_small`
    says that the weight is below a half."""
    if is_small:
        return start + weight * (end - start)
    return end - (end - start) * keep


def decayed(param: Value, grad: Value, group: dict[str, Any], number: Numbers[Value]) -> Value:
    """The gradient with the penalty of the weights' squares added."""
    return grad + number.of(group, "weight_decay") * param if is_set(group, "weight_decay") else grad
