"""Modules whose forward is one function of the inputs and of settings given once: a row each, no class body.

`define` makes the class of a row. A module's attributes are its settings; those named in `buffers` move and
are saved
with the module.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, ClassVar, cast

from lazygrad.errors import ArgumentTypeError
from lazygrad.nn.module import Module

REQUIRED = inspect.Parameter.empty


class FunctionModule(Module):
    """The base of all modules that a row describes."""

    _function: ClassVar[Callable[..., Any]]
    _inputs: ClassVar[inspect.Signature]
    # those of a module that brings its own forward
    _settings: ClassVar[inspect.Signature] = inspect.Signature()
    _passed: ClassVar[tuple[str, ...]] = ()
    _shown: ClassVar[tuple[str, ...]] = ()
    _buffer_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        try:
            given = self._settings.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentTypeError(f"[Module] {type(self).__name__}.__init__(): {error}") from None
        given.apply_defaults()
        self._take(dict(given.arguments))

    def _take(self, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            if name in self._buffer_names:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The function of the inputs and the settings."""
        if kwargs or len(inputs) != len(self._inputs.parameters):
            try:
                inputs = self._inputs.bind(*inputs, **kwargs).args
            except TypeError as error:
                raise ArgumentTypeError(f"[Module] {type(self).__name__}.forward(): {error}") from None
        return type(self)._function(*inputs, **{name: getattr(self, name) for name in self._passed})

    def extra_repr(self) -> str:
        # `inplace` is shown where it is on; a single lambd without its name
        parts = [
            str(getattr(self, name)) if name == "lambd" else f"{name}={_text(getattr(self, name))}"
            for name in self._shown
        ]
        return ", ".join(parts + (["inplace=True"] if getattr(self, "inplace", False) else []))


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def signature_of(settings: dict[str, Any], by_place: bool = True) -> inspect.Signature:
    """Of an __init__ with settings by name and default, REQUIRED for none."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if by_place else inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature([
        inspect.Parameter(key, kind, default=default) for key, default in settings.items()
    ])


def _inputs_of(function: Any, settings: dict[str, Any]) -> inspect.Signature:
    """What a function takes before its settings: arguments without a default."""
    before = itertools.takewhile(
        lambda p: p.name not in settings and p.default is REQUIRED,
        inspect.signature(function).parameters.values(),
    )
    return inspect.Signature([inspect.Parameter(p.name, p.POSITIONAL_OR_KEYWORD) for p in before])


def _telling(common: Any, signature: inspect.Signature) -> Any:
    """A method of FunctionModule as a function of its own, which tells this signature to who inspects it."""
    made: Any = FunctionType(
        common.__code__, common.__globals__, common.__name__, None, common.__closure__
    )
    made.__doc__ = common.__doc__
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    made.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])
    return made


def define(
    name: str,
    function: Callable[..., Any],
    doc: str,
    *,
    base: type = FunctionModule,
    module: str,
    shown: Sequence[str] = (),
    passed: Sequence[str] | None = None,
    buffers: Sequence[str] = (),
    inputs: Sequence[str] = (),
    by_place: bool = True,
    **settings: Any,
) -> Any:
    """The class `name` of `module` whose forward is `function(*inputs, **settings)`.

    `settings`: names and defaults (REQUIRED: none) of __init__, in order, by name unless `by_place`;
    `passed`: those that go to the function (all, if not said); `shown`: those that repr prints; `inputs`:
    what forward takes, where the function has other names for it.
    """
    signature, kind = signature_of(settings, by_place), cast(Any, base)
    taken = signature_of(dict.fromkeys(inputs, REQUIRED)) if inputs else _inputs_of(function, settings)
    methods = {"__init__": signature, "forward": taken}
    return type(
        name,
        (base,),
        {
            "__signature__": signature,
            **{
                method: _telling(getattr(FunctionModule, method), shown_to)
                for method, shown_to in methods.items()
                if getattr(kind, method) is getattr(FunctionModule, method)
            },
            "__doc__": doc,
            "__module__": module,
            "_function": staticmethod(function),
            "_settings": signature,
            "_inputs": taken,
            "_passed": tuple(settings if passed is None else passed),
            "_shown": tuple(shown),
            "_buffer_names": tuple(buffers),
        },
    )
