"""Reading pickles without running them: a machine for the instructions of pickles that makes plain data and
calls only what a list allows.

Nothing is imported or looked up by a name of the file: a name is a key of the list. Calls, new objects and
states are for entries of the list alone; extension codes, persistent ids other than storages, and buffers out
of band are refused.
"""

from __future__ import annotations

import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import decode_long
from typing import Any

from lazygrad.errors import FileFormatError, LazygradError, UnsafeFileError
from lazygrad.serialization.sources import Cursor

DEEPEST_KEY = 40  # tuples within tuples of a dictionary's key: hashing them takes the stack of C
LARGEST_KEY = 1000  # parts at one depth: a tuple of twice the same tuple of twice ... takes no memory
_PLAIN_KEYS = (str, int, float, complex, bool, bytes, type(None))
_DICTS = (dict, OrderedDict, Counter)


class Names:
    """What a pickle may name. `values`: what each name stands for. `calls`: by the identity of a value, the
    function that REDUCE and NEWOBJ call in its stead. `classes`: classes that the user trusts, which are
    called, made and given their state as pickle does it."""

    def __init__(self, values: dict[str, Any], calls: dict[int, Callable[..., Any]]) -> None:
        self.values, self.calls = values, calls
        self.trusted: dict[str, Any] = {}

    def find(self, path: str) -> Any:
        """The value of a name. Raises UnsafeFileError for one that is not in the list."""
        if path in self.values:
            return self.values[path]
        if path in self.trusted:
            return self.trusted[path]
        if path.startswith("torch."):  # a class of PyTorch's, when the one of that name here is trusted
            name = path.rpartition(".")[2]
            for value in self.trusted.values():
                ours = str(getattr(value, "__module__", "")).startswith("lazygrad.")
                if ours and getattr(value, "__qualname__", "") == name:
                    return value
        shown = path.removeprefix("builtins.")
        raise UnsafeFileError(
            f"[load] Weights only load failed. Unsupported global: GLOBAL {shown} was not an allowed "
            f"global by default. Please use `lazygrad.serialization.add_safe_globals([{shown}])` or the "
            f"`lazygrad.serialization.safe_globals([{shown}])` context manager to allowlist this global if "
            "you trust this class/function, or load with weights_only=False if you trust the whole file: "
            "it can then run any code"
        )

    def is_trusted(self, value: Any) -> bool:
        """Whether the user has said that a class or function may be called."""
        return any(value is known for known in self.trusted.values())


class PickleReader:
    """One pickle: `PickleReader(...).load()`. `persistent` makes what a persistent id stands for."""

    def __init__(
        self, cursor: Cursor, names: Names, persistent: Callable[[Any], Any], encoding: str = "utf-8"
    ) -> None:
        self.cursor, self.names, self.persistent, self.encoding = cursor, names, persistent, encoding
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0

    def load(self) -> Any:
        """The object. Raises FileFormatError for a damaged pickle, UnsafeFileError for one that asks for more
        than plain data."""
        read, codes = self.cursor.read, _CODES
        try:
            while True:
                code = read(1)
                if code == b".":
                    return self.stack.pop()
                act = codes.get(code)
                if act is None:
                    raise UnsafeFileError(
                        f"[load] {self.cursor.source.name}: {_REFUSED.get(code, 'an unknown instruction')} "
                        f"({code!r}) is refused in a pickle of weights"
                    )
                act(self)
        except LazygradError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError,
                struct.error, MemoryError) as problem:
            raise FileFormatError(
                f"[load] {self.cursor.source.name}: the pickle is damaged at byte "
                f"{self.cursor.position}: {type(problem).__name__}: {str(problem)[:200]}"
            ) from problem

    # What the instructions are made of

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        """The values since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def unpack(self, layout: str) -> Any:
        """A number of the file."""
        return struct.unpack(layout, self.cursor.read(struct.calcsize(layout)))[0]

    def name(self, module: str, name: str) -> None:
        """Push what a name stands for."""
        if self.protocol < 3:
            if (module, name) in NAME_MAPPING:
                module, name = NAME_MAPPING[module, name]
            else:
                module = IMPORT_MAPPING.get(module, module)
        self.push(self.names.find(f"{module}.{name}"))

    def decoded(self, data: bytes) -> Any:
        """A string of Python 2."""
        return data if self.encoding == "bytes" else data.decode(self.encoding)

    def call(self, function: Any, args: Any, named: dict[str, Any] | None = None) -> Any:
        """The result of an entry of the list."""
        if type(args) is not tuple:
            raise FileFormatError(f"[load] arguments must be a tuple, not {type(args).__name__}")
        allowed = self.names.calls.get(id(function))
        if allowed is not None and not named:
            return allowed(*args)
        if self.names.is_trusted(function):
            return function(*args, **(named or {}))
        raise UnsafeFileError(
            f"[load] Trying to call reduce for unrecognized function {_named(function)}: it is refused"
        )

    def make(self, kind: Any, args: Any, named: dict[str, Any] | None = None) -> Any:
        """A new object of a class in the list."""
        if self.names.is_trusted(kind) and isinstance(kind, type):
            return kind.__new__(kind, *args, **(named or {}))
        return self.call(kind, args, named)

    def build(self, state: Any) -> None:
        """Give the object on the stack its state."""
        made = self.stack[-1]
        if type(made) is OrderedDict:
            made.__dict__.update(attributes_of(state))
        elif self.names.is_trusted(type(made)):
            set_state(made, state)
        else:
            raise UnsafeFileError(
                "[load] Can only build OrderedDict or types allowlisted via `add_safe_globals`, but got "
                f"{_named(type(made))}"
            )

    def put_items(self, items: list[Any]) -> None:
        """Add keys and values in turn to the dictionary on the stack."""
        target = self.stack[-1]
        if type(target) not in _DICTS:
            raise UnsafeFileError(f"[load] Can only SETITEMS of dictionaries, but got {_named(type(target))}")
        for k in range(0, len(items), 2):
            target[checked_key(items[k])] = items[k + 1]

    def extend(self, items: list[Any]) -> None:
        """Add to the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise UnsafeFileError(f"[load] Can only append to lists, but got {_named(type(self.stack[-1]))}")
        self.stack[-1].extend(items)

    def add(self, items: list[Any]) -> None:
        """Add to the set on the stack."""
        if type(self.stack[-1]) is not set:
            raise UnsafeFileError(f"[load] Can only add to sets, but got {_named(type(self.stack[-1]))}")
        self.stack[-1].update(map(checked_key, items))


def _named(value: Any) -> str:
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", None)
    return f"{module}.{name}" if isinstance(name, str) else type(value).__name__


def checked_key(key: Any) -> Any:
    """A key whose hash takes no deep stack. Raises FileFormatError."""
    if isinstance(key, _PLAIN_KEYS):
        return key
    level = [key]
    for _ in range(DEEPEST_KEY):
        level = [part for item in level if isinstance(item, tuple | frozenset) for part in item]
        if not level:
            return key
        if len(level) > LARGEST_KEY:
            break
    raise FileFormatError("[load] the key of a dictionary is too deep or too large")


def attributes_of(state: Any) -> dict[str, Any]:
    """A state as attributes by name. Raises FileFormatError for any other."""
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FileFormatError(f"[load] a state must be a dictionary, not {type(state).__name__}")
    return state


def set_state(made: Any, state: Any) -> None:
    """What pickle does with the state of an object."""
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        made.__dict__.update(attributes_of(state))
    for name, value in attributes_of(slots or {}).items():
        setattr(made, name, value)


# The instructions: what each does with a reader


def _at(r: PickleReader, index: int) -> Any:
    return r.memo[index]


def _remember(r: PickleReader, index: int) -> None:
    r.memo[index] = r.stack[-1]


def _mark(r: PickleReader) -> None:
    r.marks.append(r.stack)
    r.stack = []


def _tuple_of(count: int) -> Callable[[PickleReader], None]:
    def make(r: PickleReader) -> None:
        if len(r.stack) < count:
            raise LookupError("too few values for a tuple")
        r.stack[-count:] = [tuple(r.stack[-count:])]

    return make


def _text(r: PickleReader, length: int) -> str:
    return r.cursor.read(length).decode("utf-8", "surrogatepass")


def _global(r: PickleReader) -> None:
    module, name = r.cursor.line().decode(), r.cursor.line().decode()
    r.name(module, name)


def _stack_global(r: PickleReader) -> None:
    name, module = r.stack.pop(), r.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise FileFormatError("[load] a name must be two strings")
    r.name(module, name)


def _reduce(r: PickleReader) -> None:
    args = r.stack.pop()
    r.stack[-1] = r.call(r.stack[-1], args)


def _new_object(r: PickleReader) -> None:
    args, kind = r.stack.pop(), r.stack.pop()
    r.push(r.make(kind, args))


def _new_object_named(r: PickleReader) -> None:
    named, args, kind = r.stack.pop(), r.stack.pop(), r.stack.pop()
    r.push(r.make(kind, args, attributes_of(named)))


def _set_item(r: PickleReader) -> None:
    value, key = r.stack.pop(), r.stack.pop()
    r.put_items([key, value])


def _make_dict(r: PickleReader) -> None:
    items = r.pop_mark()
    r.push({})
    r.put_items(items)


def _integer(text: bytes) -> int | bool:
    if text in (b"00", b"01"):
        return text == b"01"
    return int(text.rstrip(b"L"))


def _quoted(r: PickleReader) -> Any:
    line = r.cursor.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
        raise ValueError("a string without quotes")
    return r.decoded(line[1:-1].decode("unicode_escape").encode("latin-1"))


_CODES: dict[bytes, Callable[[PickleReader], None]] = {
    b"\x80": lambda r: setattr(r, "protocol", r.cursor.read(1)[0]),
    b"\x95": lambda r: r.cursor.source.check(r.cursor.position, r.unpack("<Q"), "a frame of its pickle"),
    # the stack and the memo
    b"(": _mark,
    b"0": lambda r: None if r.stack and r.stack.pop() is None else None,
    b"1": lambda r: None if r.pop_mark() else None,
    b"2": lambda r: r.push(r.stack[-1]),
    b"g": lambda r: r.push(_at(r, int(r.cursor.line()))),
    b"h": lambda r: r.push(_at(r, r.cursor.read(1)[0])),
    b"j": lambda r: r.push(_at(r, r.unpack("<I"))),
    b"p": lambda r: _remember(r, int(r.cursor.line())),
    b"q": lambda r: _remember(r, r.cursor.read(1)[0]),
    b"r": lambda r: _remember(r, r.unpack("<I")),
    b"\x94": lambda r: _remember(r, len(r.memo)),
    # numbers
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": lambda r: r.push(_integer(r.cursor.line())),
    b"L": lambda r: r.push(_integer(r.cursor.line())),
    b"F": lambda r: r.push(float(r.cursor.line())),
    b"J": lambda r: r.push(r.unpack("<i")),
    b"K": lambda r: r.push(r.cursor.read(1)[0]),
    b"M": lambda r: r.push(r.unpack("<H")),
    b"G": lambda r: r.push(r.unpack(">d")),
    b"\x8a": lambda r: r.push(decode_long(r.cursor.read(r.cursor.read(1)[0]))),
    b"\x8b": lambda r: r.push(decode_long(r.cursor.read(r.unpack("<i")))),
    # strings
    b"V": lambda r: r.push(r.cursor.line().decode("raw-unicode-escape")),
    b"X": lambda r: r.push(_text(r, r.unpack("<I"))),
    b"\x8c": lambda r: r.push(_text(r, r.cursor.read(1)[0])),
    b"\x8d": lambda r: r.push(_text(r, r.unpack("<Q"))),
    b"S": lambda r: r.push(_quoted(r)),
    b"T": lambda r: r.push(r.decoded(r.cursor.read(r.unpack("<i")))),
    b"U": lambda r: r.push(r.decoded(r.cursor.read(r.cursor.read(1)[0]))),
    b"B": lambda r: r.push(r.cursor.read(r.unpack("<I"))),
    b"C": lambda r: r.push(r.cursor.read(r.cursor.read(1)[0])),
    b"\x8e": lambda r: r.push(r.cursor.read(r.unpack("<Q"))),
    b"\x96": lambda r: r.push(bytearray(r.cursor.read(r.unpack("<Q")))),
    # containers
    b")": lambda r: r.push(()),
    b"]": lambda r: r.push([]),
    b"}": lambda r: r.push({}),
    b"\x8f": lambda r: r.push(set()),
    b"t": lambda r: r.push(tuple(r.pop_mark())),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"l": lambda r: r.push(r.pop_mark()),
    b"d": _make_dict,
    b"\x91": lambda r: r.push(frozenset(map(checked_key, r.pop_mark()))),
    b"a": lambda r: r.extend([r.stack.pop()]),
    b"e": lambda r: r.extend(r.pop_mark()),
    b"\x90": lambda r: r.add(r.pop_mark()),
    b"s": _set_item,
    b"u": lambda r: r.put_items(r.pop_mark()),
    # names, calls and states
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _new_object,
    b"\x92": _new_object_named,
    b"b": lambda r: r.build(r.stack.pop()),
    b"Q": lambda r: r.push(r.persistent(r.stack.pop())),
}

_REFUSED = {
    b"P": "a persistent id in text",
    b"i": "an instance of an old class",
    b"o": "an instance of an old class",
    b"\x82": "an extension code",
    b"\x83": "an extension code",
    b"\x84": "an extension code",
    b"\x97": "a buffer out of band",
    b"\x98": "a buffer out of band",
}
