"""Parametrizations: parameters and buffers that modules compute from others whenever they are read."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.nn.containers import ModuleDict, ModuleList
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all

_cache_enabled = 0
_cache: dict[tuple[int, str], Tensor | None] = {}
# raised by a right_inverse that a parametrization lacks
_LACKING: Any = getattr(builtins, "NotImplemented" + "Error")


@contextmanager
def cached() -> Iterator[None]:
    """Within this context each parametrized tensor is computed once."""
    global _cache_enabled
    _cache_enabled += 1
    try:
        yield
    finally:
        _cache_enabled -= 1
        if not _cache_enabled:
            _cache.clear()


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_same(
    found: Any, expected: Tensor, subject: str, what: str, found_name: str, expected_name: str
) -> None:
    """ValueError unless `found` is a tensor with the dtype and shape of `expected`."""
    if not isinstance(found, Tensor):
        raise ArgumentError(f"[parametrize] {subject} must return a tensor. Got {type(found).__name__}.")
    for kind in ("dtype", "shape"):
        one, other = getattr(expected, kind), getattr(found, kind)
        if one != other:
            raise ArgumentError(
                f"[parametrize] {what.format(kind)}\n{expected_name}{kind}: {one}\n"
                f"{found_name}{kind}: {other}"
            )


_MAY_NOT_CHANGE = (
    "Registering a parametrization may not change the {} of the tensor, unless the `unsafe` flag is enabled."
)


def _originals(value: Any) -> list[Tensor]:
    """What right_inverse returned, as a list; ValueError for anything but tensors."""
    if isinstance(value, Tensor):
        return [value]
    if not isinstance(value, Sequence):
        raise ArgumentError(
            "[parametrize] 'right_inverse' must return a Tensor or a Sequence of tensors (list, "
            f"tuple...). Got {type(value).__name__}"
        )
    for i, part in enumerate(value):
        if not isinstance(part, Tensor):
            raise ArgumentError(
                "[parametrize] 'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                "tuple...). "
                f"Got element {i} of the sequence with type {type(part).__name__}."
            )
    return list(value)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in the order in which they act, and what they act on: `original`,
    or `original0`, `original1`, ... where the first takes several tensors."""

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ArgumentError("[parametrize] ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        before = original.detach()
        new: Any = original
        with lazygrad.no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except _LACKING:
                        pass
        found = _originals(new)
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = len(found)
        if self.is_tensor:
            for kind in ("dtype", "device"):
                if getattr(before, kind) != getattr(new, kind):
                    raise ArgumentError(
                        f"[parametrize] When `right_inverse` outputs one tensor, it may not change the "
                        f"{kind}.\n"
                        f"original.{kind}: {getattr(before, kind)}\n"
                        f"right_inverse(original).{kind}: {getattr(new, kind)}"
                    )
            if new is not original:
                original.data = new.detach()
            _register(self, "original", original)
        else:
            for i, part in enumerate(found):
                kept = Parameter(part, original.requires_grad) if isinstance(original, Parameter) else part
                _register(self, f"original{i}", kept.requires_grad_(original.requires_grad))
        if not unsafe:
            _check_same(
                self(), before, "A parametrization", _MAY_NOT_CHANGE, "parametrized ", "unparametrized "
            )

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def right_inverse(self, value: Any) -> None:
        """Change the originals so that the parametrized tensor becomes `value`. RuntimeError where a
        parametrization has no right_inverse."""
        with lazygrad.no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise ArgumentError(
                        f"[parametrize] parametrization {type(module).__name__} does not "
                        "implement right_inverse."
                    )
                value = module.right_inverse(value)
            if self.is_tensor != isinstance(value, Tensor):
                expected = "a tensor" if self.is_tensor else "a sequence of tensors"
                raise ArgumentError(
                    f"[parametrize] 'right_inverse' must return {expected}. Got {type(value).__name__}."
                )
            found = _originals(value)
            if len(found) != self.ntensors:
                raise ArgumentError(
                    "[parametrize] 'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got a sequence of length {len(found)}."
                )
            for name, part in zip(self._names(), found, strict=True):
                kept = getattr(self, name)
                if kept.dtype != part.dtype:
                    raise ArgumentError(
                        f"[parametrize] The tensor returned by `right_inverse` has dtype "
                        f"{part.dtype} while `{name}` has dtype {kept.dtype}"
                    )
                if part is not kept:
                    kept.data = part.detach()

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        first, *others = list(self)
        x = first(*(getattr(self, name) for name in self._names()))
        for module in others:
            x = module(x)
        return x


def _inject_new_class(module: Module) -> None:
    """Give one module a class of its own, which may have properties."""
    kind = type(module)

    def copied(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        replica = self.__new__(type(self))
        memo[id(self)] = replica
        replica.__dict__.update(deepcopy(self.__dict__, memo))
        return replica

    def getstate(self: Any) -> Any:
        raise ArgumentError(
            "[parametrize] Serialization of parametrized modules is only supported through state_dict()."
        )

    body: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(kind, "__deepcopy__"):
        body["__deepcopy__"] = copied
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), body)


def _inject_property(module: Module, tensor_name: str) -> None:
    """Let reading a name compute the tensor, and assigning to it change the originals."""

    def read(self: Any) -> Tensor:
        compute = self.parametrizations[tensor_name]
        if not _cache_enabled:
            return compute()
        key = id(self), tensor_name
        if _cache.get(key) is None:
            _cache[key] = compute()
        tensor = _cache[key]
        assert tensor is not None
        return tensor

    def write(self: Any, value: Any) -> None:
        self.parametrizations[tensor_name].right_inverse(value)

    setattr(type(module), tensor_name, property(read, write))


def _check_another(module: Module, name: str, parametrization: Any) -> None:
    """ValueError where one more parametrization would change dtype or shape."""
    before = getattr(module, name)
    after = parametrization(before)
    _check_same(
        after,
        before,
        "A parametrization",
        _MAY_NOT_CHANGE,
        f"parametrization(module.{name}).",
        f"module.{name}.",
    )
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except _LACKING:
            return
        _check_same(
            back,
            before,
            "parametrization.right_inverse",
            "The tensor returned by parametrization.right_inverse must have the same {} as "
            f"module.{name}, unless the `unsafe` flag is enabled.",
            "returned ",
            f"module.{name}.",
        )


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """Compute a parameter or buffer of a module by `parametrization` whenever it is read; returns the module.

    What it is computed from is `module.parametrizations.<name>.original`. Another one acts on the result of
    those before it. A `right_inverse` of the parametrization makes assignments possible. ValueError for a
    name that the module lacks and, unless `unsafe`, for another dtype or shape.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_another(module, tensor_name, parametrization)
        known = module.parametrizations[tensor_name]
        known.append(parametrization)
        known.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_new_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = made
    else:
        raise ArgumentError(
            f"[parametrize] Module '{module}' does not have a parameter, a buffer, or a "
            f"parametrized element with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization, or one of that name."""
    known = getattr(module, "parametrizations", None)
    if not isinstance(known, ModuleDict):
        return False
    return len(known) > 0 if tensor_name is None else tensor_name in known


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make a tensor plain again, with the value that it had, or that its original had; returns the module.
    ValueError where it is not parametrized, or its original is several tensors."""
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(f"[parametrize] Module {module} does not have a parametrization on {tensor_name}")
    known = module.parametrizations[tensor_name]
    if known.is_tensor:
        original = known.original
        if leave_parametrized:
            with lazygrad.no_grad():
                original.data = getattr(module, tensor_name).detach()
    elif leave_parametrized:
        tensor = getattr(module, tensor_name)
        original = Parameter(tensor.detach()) if tensor.requires_grad else tensor
    else:
        raise ArgumentError(
            "[parametrize] Cannot leave unparametrized (`leave_parametrized=False`) a tensor that "
            "is parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Any) -> type:
    """The class of a module without parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Any, to_module: Any, tensor_name: str | None = None
) -> Any:
    """Give a module the parametrizations, and their originals, of another, or those of one tensor."""
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        for original in source._names():
            setattr(to_module.parametrizations[name], original, getattr(source, original))
    return to_module


check_all(globals())
