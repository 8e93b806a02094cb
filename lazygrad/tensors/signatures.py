"""Calls bound and checked in one place, by the signatures of definitions: what is missing, too much or
unknown, and whether each argument is of the kind that its annotation names.

Every published definition gets a function in front of it, written for its signature: a chain of cheap tests
that holds for nearly all right calls. What fails there is looked at again, slowly: numbers of NumPy, tensors
without dimensions, NumPy's names of arguments (`axis`, `keepdims`) and Python's types for dtypes are taken as
PyTorch takes them; the rest is an ArgumentTypeError. An error from inside that is none of lazygrad's own
becomes one of them.
"""

from __future__ import annotations

import inspect
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from lazygrad import dtypes
from lazygrad.errors import ArgumentError, ArgumentTypeError, LazygradError, OutOfBoundsError
from lazygrad.missing import NO_COMPLEX, check_layout, check_type, layout, memory_format, refuse
from lazygrad.tensors.devices import device as _device

_FACTORS = {"add": "alpha", "sub": "alpha", "addcmul": "value", "addcdiv": "value"}
_MATRIX_SUMS = frozenset("addmm addmv addr addbmm baddbmm".split())
_OTHER_NAMES = {"axis": "dim", "keepdims": "keepdim"}
# arguments as PyTorch names them in another form of the same function
_split = dict.fromkeys(("indices", "sections", "tensor_indices_or_sections"), "indices_or_sections")
_OF_OTHER_FORMS = {
    **dict.fromkeys(("max", "min"), {"other": "dim"}),
    **dict.fromkeys(("tensor_split", "hsplit", "vsplit", "dsplit"), _split),
    "isin": {"element": "elements", "test_element": "test_elements"},
    "cholesky_solve": {"input2": "L"},
    "copy_": {"other": "src"},
}
OF_PYTHON = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64}
_PACKAGE = str(Path(__file__).parent.parent)


# for the functions in front: types defined above this file, and Python's under names that no parameter has
Tensor: Any = None
Generator: Any = None
DType = dtypes.DType
_type, _tuple, _list, _int, _float, _str = type, tuple, list, int, float, str


class _Missing:
    """What stands for an argument that was not given."""

    def __repr__(self) -> str:
        return "<required>"


_MISSING = _Missing()
_REFUSED = _Missing()


class Kind(NamedTuple):
    """A kind of argument: a cheap test that nearly all right values pass, written with `{0}` for the value;
    what a value that fails it is taken for, or `_REFUSED`; and what the kind is called."""

    test: str
    take: Callable[[str, Any], Any]
    title: str


def _is_number(value: Any, integer: bool) -> bool:
    """Whether a tensor stands for a number: one without dimensions, of which no gradient is wanted."""
    if not isinstance(value, Tensor) or value.ndim or value.requires_grad:
        return False
    return not integer or value._dtype.is_integer


def _take_tensor(name: str, value: Any) -> Any:
    return _REFUSED


def _take_int(name: str, value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return _REFUSED
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, int) or _is_number(value, True) else _REFUSED


def _take_float(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        refuse(name, NO_COMPLEX)
    return value if isinstance(value, int | float) or _is_number(value, False) else _REFUSED


def _take_bool(name: str, value: Any) -> Any:
    if isinstance(value, np.bool_):
        return bool(value)
    return value if _is_number(value, False) and value._dtype is dtypes.bool_ else _REFUSED


def _take_string(name: str, value: Any) -> Any:
    return value if isinstance(value, str) else _REFUSED


def _take_dtype(name: str, value: Any) -> Any:
    check_type(name, value)
    return OF_PYTHON.get(value, _REFUSED) if isinstance(value, type) else _REFUSED


def _take_layout(name: str, value: Any) -> Any:
    check_layout(name, value)
    return value if isinstance(value, layout) else _REFUSED


def _take_device(name: str, value: Any) -> Any:
    return value if isinstance(value, str | int | _device) and not isinstance(value, bool) else _REFUSED


def _take_format(name: str, value: Any) -> Any:
    return value if isinstance(value, memory_format) else _REFUSED


def _are_ints(value: Any) -> bool:
    if type(value) is not tuple and type(value) is not list:
        return False
    for part in value:
        if type(part) is not int:
            return False
    return True


def _take_ints(name: str, value: Any) -> Any:
    if not isinstance(value, tuple | list):
        return _REFUSED
    parts = [_take_int(name, part) for part in value]
    return _REFUSED if any(part is _REFUSED for part in parts) else type(value)(parts)


def _take_list(name: str, value: Any) -> Any:
    return value if isinstance(value, tuple | list) else _REFUSED


# what an annotation says, which may end in ` | None`
KINDS = {
    "Tensor": Kind("isinstance({0}, Tensor)", _take_tensor, "Tensor"),
    "int": Kind("_type({0}) is _int", _take_int, "int"),
    "float": Kind("_type({0}) is _float or _type({0}) is _int", _take_float, "Number"),
    "bool": Kind("{0} is False or {0} is True", _take_bool, "bool"),
    "str": Kind("_type({0}) is _str", _take_string, "str"),
    "DType": Kind("_type({0}) is DType", _take_dtype, "a dtype such as lazygrad.float32"),
    "layout": Kind("{0} is None", _take_layout, "layout"),
    "Generator": Kind("isinstance({0}, Generator)", _take_tensor, "Generator"),
    "device": Kind("{0} is None or _type({0}) is _device", _take_device, "device"),
    "memory_format": Kind("{0} is None", _take_format, "memory_format"),
    "Sequence[int]": Kind("_are_ints({0})", _take_ints, "tuple of ints"),
    "Sequence[Tensor]": Kind(
        "_type({0}) is _tuple or _type({0}) is _list", _take_list, "tuple of Tensors"
    ),
}
# of parameters that every function has in the same sense, where their annotation is Any
_BY_NAME = {
    **{n: f"{n} | None" for n in ("layout", "device", "memory_format")},
    "dtype": "DType | None",
    **dict.fromkeys(
        "kernel_size stride padding dilation output_padding shifts dim".split(), "int | Sequence[int]"
    ),
    **dict.fromkeys(("alpha", "beta", "fill_value"), "float"),
    "correction": "float | None",
}


def _one_of(kinds: list[Kind]) -> Kind:
    def take(name: str, value: Any) -> Any:
        taken = (kind.take(name, value) for kind in kinds)
        return next((t for t in taken if t is not _REFUSED), _REFUSED)

    return Kind(" or ".join(k.test for k in kinds), take, " or ".join(k.title for k in kinds))


# flags whose truth alone counts, as in PyTorch's own Python code
_TRUTHS = frozenset(
    """
    inplace return_indices sym center recompute_scale_factor add_zero_attn use_separate_proj_weight
    need_weights size_average reduce
    """.split()
)


class Parameter(NamedTuple):
    """A parameter of a definition; `default` is `_MISSING` where there is none."""

    name: str
    annotation: str
    default: Any
    by_place: bool

    def kind(self) -> Kind | None:
        """What it takes, where its annotation says it."""
        words = self.annotation.removesuffix(" | None")
        if words not in KINDS and all(word in KINDS for word in words.split(" | ")):
            KINDS[words] = _one_of([KINDS[word] for word in words.split(" | ")])
        return KINDS.get(words)

    def takes_none(self) -> bool:
        return self.annotation.endswith("None")


class Signature:
    """What a definition of a name takes, and the function in front of it."""

    function: Any
    parameters: tuple[Parameter, ...]
    rest: bool  # any further arguments by place
    grouped: bool  # which are one tuple then, as functions have them: methods take them one by one, too
    options: bool  # and by name

    def __init__(self, name: str, own: FunctionType, grouped: bool) -> None:
        self.name, self.own, self.grouped = name, own, grouped

    def write(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The first call: the function in front gets its code, and is called again."""
        shown = inspect.signature(self.own).parameters.values()
        self.rest, self.options = (any(p.kind is kind for p in shown) for kind in _STARRED)
        self.parameters = tuple(_parameter(p) for p in shown if p.kind not in _STARRED)
        front, text = self.function, _text(self)
        if text not in _code:
            found: dict[str, Any] = {}
            exec(compile(text, __file__, "exec"), globals(), found)
            _code[text] = found["make"](None, None).__code__
        placed = tuple(p.default for p in self.parameters if p.by_place)
        by_name = {p.name: p.default for p in self.parameters if not p.by_place}
        front.__code__, front.__defaults__, front.__kwdefaults__ = _code[text], placed, by_name
        return front(*args, **named)

    def look_again(self, values: dict[str, Any], excess: tuple[Any, ...], other: dict[str, Any]) -> None:
        """Values that are right in another form, put into it. Raises ArgumentTypeError for wrong ones."""
        name = self.name
        forms = _OF_OTHER_FORMS.get(name, {})
        if "requires_grad" in values and "device" in values:  # PyTorch's factories take these, too
            check_layout(name, other.pop("layout", None))
            other.pop("pin_memory", None)
        for given in tuple(other):
            known = forms.get(given) or _OTHER_NAMES.get(given) or ("x" if given == "input" else None)
            if known in values:
                values[known] = other.pop(given)
        if other and not self.options:
            raise ArgumentTypeError(f"[{name}] {name}() got an unexpected keyword argument "
                                    f"{next(iter(other))!r}: it takes {', '.join(values) or 'nothing'}")
        if excess and (self._factor_first(values, excess) or self._factors_first(values, excess)):
            warnings.warn(
                f"This overload of {name} is deprecated: give factors by name, as in "
                f"{name}({', '.join(p.name if p.by_place else p.name + '=...' for p in self.parameters)})",
                stacklevel=3,
            )
            excess = ()
        if excess and not self.rest:
            places = [p for p in self.parameters if p.by_place]
            raise ArgumentTypeError(f"[{name}] {name}() takes {len(places)} positional arguments but "
                                    f"{len(places) + len(excess)} were given: it takes "
                                    f"{', '.join(p.name for p in places) or 'none'}")
        if excess and self.grouped:
            self._check_group(excess)
        missing = [p.name for p in self.parameters if values[p.name] is _MISSING]
        if missing:
            raise ArgumentTypeError(f"[{name}] {name}() missing {len(missing)} required "
                                    f"arguments: {', '.join(map(repr, missing))}")
        for place, parameter in enumerate(self.parameters, 1):
            values[parameter.name] = self._taken(place, parameter, values[parameter.name])

    def _check_group(self, excess: tuple[Any, ...]) -> None:
        group = next(p.name for p in self.parameters if not p.by_place)
        if len(excess) > 1:
            raise ArgumentTypeError(f"[{self.name}] {self.name}() takes 2 positional arguments but "
                                    f"{len(excess) + 1} were given: {group} is one tuple")
        if not isinstance(excess[0], tuple | list):
            raise ArgumentTypeError(f"[{self.name}] {self.name}(): argument '{group}' (position 2) must be "
                                    f"tuple of ints, not {told(excess[0])}")

    def _factor_first(self, values: dict[str, Any], excess: tuple[Any, ...]) -> bool:
        """PyTorch's older forms, where a factor stands before what it multiplies: `x.add_(0.5, y)` is
        `x.add_(y, alpha=0.5)`. Whether these values are of such a form; they are put in order then."""
        factor = _FACTORS.get(self.name.rstrip("_"))
        places = [p.name for p in self.parameters if p.by_place][1:]
        if factor not in values or factor in places or isinstance(values[places[0]], Tensor):
            return False
        given = [*(values[name] for name in places), *excess]
        if len(given) != len(places) + 1:
            return False
        values.update(zip([factor, *places], given, strict=True))
        return True

    def _factors_first(self, values: dict[str, Any], excess: tuple[Any, ...]) -> bool:
        """The same for sums with products of matrices: `addmm(beta, x, alpha, y, z)` and `x.addmm(beta, y,
        z)`. The tensors keep their order; the first number is beta, another one alpha."""
        places = [p.name for p in self.parameters if p.by_place]
        given = [*(values[name] for name in places), *excess]
        kinds = ("t" if isinstance(v, Tensor) else "n" if type(v) in (int, float) else "?" for v in given)
        known = "".join(kinds) in ("nttt", "ntntt", "tntt", "tnntt")
        if not known or self.name.rstrip("_") not in _MATRIX_SUMS:
            return False
        tensors = [v for v in given if isinstance(v, Tensor)]
        numbers = [v for v in given if not isinstance(v, Tensor)]
        values.update(zip(places, tensors, strict=True))
        values.update(zip(("beta", "alpha"), numbers, strict=False))
        return True

    def _taken(self, place: int, parameter: Parameter, value: Any) -> Any:
        kind = parameter.kind()
        if kind is None or value is parameter.default or value is None and parameter.takes_none():
            return value
        if _test(kind)(value):
            return value
        taken = kind.take(self.name, value)
        if taken is _REFUSED:
            where = f" (position {place})" if parameter.by_place else ""
            raise ArgumentTypeError(
                f"[{self.name}] {self.name}(): argument '{parameter.name}'{where} must be {kind.title}"
                f"{' or None' if parameter.takes_none() else ''}, not {told(value)}"
            )
        return taken

    def explain(self, problem: Exception, values: dict[str, Any]) -> Exception:
        """The error to raise for one that came out of the definition: itself where lazygrad made it on
        purpose, or where the user's own code raised it."""
        trace = problem.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = trace.tb_frame.f_code.co_filename if trace is not None else ""
        ours = place.startswith(_PACKAGE) or place.startswith(str(Path(np.__file__).parent))
        if isinstance(problem, LazygradError) or not ours:
            return problem
        if any(isinstance(value, complex) for value in values.values()):
            refuse(self.name, NO_COMPLEX)
        error: type[LazygradError] = ArgumentError
        text = any(type(values[p.name]) is str for p in self.parameters if p.annotation == "Any")
        if text or isinstance(problem, TypeError | AttributeError):
            error = ArgumentTypeError
        elif isinstance(problem, LookupError):
            error = OutOfBoundsError
        given = ", ".join(f"{k}={told(v)}" for k, v in values.items())
        return error(f"[{self.name}] {self.name}() cannot take these arguments together: {given} "
                     f"({type(problem).__name__}: {problem})")


def wanted_kind(shown: inspect.Parameter, value: Any) -> str:
    """What kind of argument stands where a value is of another one; "" where it is of that kind, or none is
    named."""
    parameter = _parameter(shown)
    kind = parameter.kind()
    fits = shown.kind in _STARRED or value is shown.default or value is None and parameter.takes_none()
    if fits or kind is None or kind.take(parameter.name, value) is not _REFUSED or _test(kind)(value):
        return ""
    return kind.title + (" or None" if parameter.takes_none() else "")


def told(value: Any) -> str:
    """A value in an error message: its type, and what it is if that is short."""
    if isinstance(value, Tensor):
        return f"Tensor of {value._dtype!r} and shape {tuple(value._shape)}"
    text = repr(value)
    return f"{type(value).__name__} ({text})" if len(text) <= 60 else type(value).__name__


INSIDE = (
    AttributeError, TypeError, LookupError, ValueError, ArithmeticError, UnboundLocalError, struct.error
)  # fmt: skip
_code: dict[str, CodeType] = {}
_tests: dict[str, Callable[[Any], bool]] = {}


def _test(kind: Kind) -> Callable[[Any], bool]:
    if kind.test not in _tests:
        _tests[kind.test] = eval(f"lambda value: {kind.test.format('value')}", globals())
    return _tests[kind.test]


def register(kind: type) -> None:
    """Let the tests of kinds name a type that is defined above this file."""
    globals()[kind.__name__] = kind


def check_all(scope: dict[str, Any]) -> None:
    """Put the checks in front of the public functions that a module defines."""
    for name, value in list(scope.items()):
        if isinstance(value, FunctionType) and value.__module__ == scope["__name__"] and name[0] != "_":
            scope[name] = checked(name, value)


def checked(name: str, definition: Callable[..., Any], grouped: bool = False) -> Callable[..., Any]:
    """The definition with the checks of its signature in front, for a function of this name. `grouped`: what
    it takes one by one is one tuple."""
    own: Any = definition
    if hasattr(own, "takes_out"):  # `out` is no parameter of its definition
        return definition
    while hasattr(own, "__wrapped__"):
        own = own.__wrapped__
    if not isinstance(own, FunctionType):
        return definition
    signature = Signature(name, own, grouped)
    made: Any = _front(definition, signature)
    signature.function = made
    made.__name__ = definition.__name__
    made.__doc__, made.__module__ = definition.__doc__, definition.__module__
    made.__qualname__, made.__annotations__ = definition.__qualname__, own.__annotations__
    made.__wrapped__ = definition
    return made


def has_sizes(definition: Any) -> bool:
    """Whether a definition takes sizes or dims one by one, and as a tuple by name."""
    code = definition.__code__
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return bool(code.co_flags & inspect.CO_VARARGS) and bool({"dims", "shape", "size"} & set(by_name))


def _front(definition: Callable[..., Any], signature: Signature) -> Callable[..., Any]:
    # written when it is first called: most functions never are
    def call(*args: Any, **named: Any) -> Any:
        assert definition is not None
        return signature.write(args, named)

    return call


_STARRED = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


def _parameter(shown: inspect.Parameter) -> Parameter:
    name, annotation = shown.name, shown.annotation
    if not isinstance(annotation, str):
        annotation = getattr(annotation, "__name__", "Any")
    if annotation in ("Any", "_empty"):
        annotation = _BY_NAME.get(name, "Any")
    elif annotation.startswith("bool"):
        annotation = "Any" if name in _TRUTHS else "bool | None" if name == "requires_grad" else annotation
    default = _MISSING if shown.default is inspect.Parameter.empty else shown.default
    return Parameter(name, annotation, default, shown.kind is not inspect.Parameter.KEYWORD_ONLY)


def _text(signature: Signature) -> str:
    """The function in front of a definition. Names of its own end in an underscore twice."""
    parameters = signature.parameters
    placed, named = [p.name for p in parameters if p.by_place], [p.name for p in parameters if not p.by_place]
    tests = [] if signature.options else ["other__"]
    tests += [] if signature.rest else ["excess__"]
    tests += ["excess__ and not (_type(excess__[0]) is _tuple and len(excess__) == 1)"] * signature.grouped
    for p in parameters:
        kind = p.kind()
        if kind is None:
            tests += [f"{p.name} is _MISSING"] * (p.default is _MISSING)
        else:
            allowed = kind.test.format(p.name)
            none = f"{p.name} is None or " if p.takes_none() or p.default is None else ""
            tests.append(f"not ({none}{allowed})")
    heads = [f"{p}=0" for p in placed] + ["*excess__"] + [f"{p}=0" for p in named] + ["**other__"]
    given = placed + ["*excess__"] * signature.rest + [f"{p}={p}" for p in named]
    given += ["**other__"] * signature.options
    values = "{" + ", ".join(f"{p.name!r}: {p.name}" for p in parameters) + "}"
    again = "".join(f"\n            {p.name} = values__[{p.name!r}]" for p in parameters)
    return f"""
def make(definition, signature):
    def call({", ".join(heads)}):
        if {" or ".join(tests) or "False"}:
            values__ = {values}
            signature.look_again(values__, excess__, other__){again}
        try:
            return definition({", ".join(given)})
        except INSIDE as problem__:
            error__ = signature.explain(problem__, {values})
            if error__ is problem__:
                raise
            raise error__ from problem__
    return call
"""
