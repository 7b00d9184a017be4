"""The one place that reads pickles: numbers, texts and containers come back, nothing of the file ever runs.

A pickle is a small program: it names classes and functions of any module and has them called. FLAME, EmoAva and the
checkpoints of the authors are only to be had as pickles, so their importers (and nothing else) come here. The safety
does not rest on a list of bad names but on what can be on the machine's stack at all:

    name in the pickle ──► in `MAKERS` (exact module and name)? ──► one of our own functions below
                       └─► its package in `stubs`?              ──► `Foreign`, a name and nothing more
                       └─► otherwise refused, with its name

No real class or function of any module is handed out. An object of a `Foreign` class is a `Stub` that keeps its state
as plain data. Calling a `Foreign` (what `__reduce__` asks for) is refused; only making an empty object of it is not.
"""

from __future__ import annotations

import codecs
import io
import math
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cteg.errors import InputError

MAX_BYTES = 4 * 2**30
"""Largest file that is read, 4 GiB; EmoAva's largest is a quarter of a gigabyte."""

NUMBER = re.compile(r"[biufc](1|2|4|8|16)$")
"""Element types that an array may have: numbers and truth values. No object arrays, which could hide anything."""


class Refused(Exception):  # noqa: N818 - it says what happened
    """The pickle asks for something that is not allowed; the message completes 'it ...'."""


@dataclass(frozen=True)
class Foreign:
    """The name of a class or function of another package; it can be compared and printed, not called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Stub:
    """An inert object of a foreign class.

    Attributes:
        kind: Its class.
        state: What `__setstate__` would have been given, mostly the dictionary of attributes; None if nothing.
    """

    def __init__(self, kind: Foreign) -> None:
        self.kind, self.state = kind, None

    def __repr__(self) -> str:
        return f"<stub of {self.kind}>"

    def extend(self, items: list[Any]) -> None:
        """Forget the items of a foreign list."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Forget an item of a foreign dictionary."""


@dataclass(frozen=True)
class Maker:
    """One of our own functions under the name that pickles use; the only thing that a pickle can call."""

    make: Callable[..., Any]


@dataclass
class ElementType:
    """An array's element type while it is read: the code, then the byte order."""

    code: str
    order: str = "="

    def resolve(self) -> np.dtype:
        """Return the numpy type."""
        return np.dtype(self.order.replace("|", "=") + self.code)


def _element_type(code: Any, *_: Any) -> ElementType:
    if not isinstance(code, str) or not NUMBER.match(code):
        raise Refused(f"holds an array of {code!r} instead of numbers")
    return ElementType(code)


def _empty_array(kind: Any, *_: Any) -> NDArray:
    """Stand in for numpy's `_reconstruct`: an empty array, filled by the state that follows."""
    if kind != Foreign("numpy", "ndarray"):
        raise Refused(f"makes an array of the class {kind}")
    return np.ndarray.__new__(np.ndarray, (0,), np.uint8)


def _checked(raw: Any, kind: Any, shape: Any) -> tuple[bytes, np.dtype]:
    """Return an array's bytes and type after checking that they are numbers, exactly as many as the shape needs."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")  # bytes of a Python 2 pickle
    if not isinstance(kind, ElementType) or not isinstance(raw, bytes | bytearray):
        raise Refused("holds an array of objects instead of numbers")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise Refused(f"holds an array of the shape {shape!r}")
    element = kind.resolve()
    if math.prod(shape) * element.itemsize != len(raw):
        raise Refused(f"holds an array of shape {shape} with {len(raw)} bytes")
    return bytes(raw), element


def _filled_array(raw: Any, kind: Any, shape: Any, order: Any = "C") -> NDArray:
    """Stand in for numpy's `_frombuffer`."""
    content, element = _checked(raw, kind, shape)
    return np.frombuffer(content, element).reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: Any, raw: Any) -> Any:
    return _filled_array(raw, kind, ())[()]


def _object_of(kind: Any, *_: Any) -> Stub:
    """Stand in for `copyreg._reconstructor`, and make an object of a foreign class."""
    if not isinstance(kind, Foreign):
        raise Refused(f"makes an object of {kind!r}")
    return Stub(kind)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Return bytes that a Python 3 pickle of protocol 2 wrote as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused(f"encodes text as {encoding!r}")
    return codecs.latin_1_encode(text)[0]


def _empty_bytes() -> bytes:
    """Return what Python 3 writes as a call under the old protocols."""
    return b""


def _makers(modules: tuple[str, ...], **functions: Callable[..., Any]) -> dict[tuple[str, str], Maker]:
    return {(module, name): Maker(make) for module in modules for name, make in functions.items()}


MAKERS: dict[tuple[str, str], Maker] = {
    **_makers(("numpy.core.multiarray", "numpy._core.multiarray"), _reconstruct=_empty_array, scalar=_scalar),
    **_makers(("numpy.core.numeric", "numpy._core.numeric"), _frombuffer=_filled_array),
    **_makers(("numpy",), dtype=_element_type),
    **_makers(("builtins", "__builtin__"), set=set, frozenset=frozenset, bytes=_empty_bytes),
    **_makers(("collections",), OrderedDict=OrderedDict),
    **_makers(("copyreg", "copy_reg"), _reconstructor=_object_of),
    **_makers(("_codecs",), encode=_encoded),
}
"""What a pickle may call, by exact module and name. `set`, `frozenset` and `OrderedDict` only collect what they get."""

NAMES = {("numpy", "ndarray"), ("builtins", "object"), ("__builtin__", "object")}
"""What a pickle may name without calling it."""


class _Machine(pickle._Unpickler):
    """Python's own unpickling machine with every step replaced that touches classes, functions or state."""

    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self,
        file: io.BytesIO,
        stubs: Collection[str],
        makers: Mapping[tuple[str, str], Maker],
        load_external: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._stubs, self._makers, self._load_external = frozenset(stubs), makers, load_external

    def find_class(self, module: str, name: str) -> Maker | Foreign:
        """Return what a name stands for; never anything of that module."""
        if maker := self._makers.get((module, name)):
            return maker
        if (module, name) in NAMES or module.split(".")[0] in self._stubs:
            return Foreign(module, name)
        raise Refused(f"asks for {module}.{name}")

    def persistent_load(self, key: Any) -> Any:
        if self._load_external is None:
            raise Refused("refers to data outside of itself")
        return self._load_external(key)

    def get_extension(self, code: int) -> Any:
        raise Refused("uses the registry of extensions")

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _call(self, target: Any, arguments: Any) -> Any:
        if not isinstance(target, Maker):
            raise Refused(f"calls {target}")
        return target.make(*arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._new(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        _keywords, arguments = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self._new(self.stack[-1], arguments)

    def _new(self, kind: Any, arguments: Any) -> Any:
        if isinstance(kind, Maker):
            return kind.make(*arguments)
        return _object_of(kind)

    def _instantiate(self, klass: Any, args: list[Any]) -> None:
        self.append(self._new(klass, args))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Stub):
            target.state = state
        elif isinstance(target, ElementType):
            if state[3:5] != (None, None) or state[1] not in "<>=|":
                raise Refused("holds an array with named fields")
            target.order = state[1]
        elif type(target) is np.ndarray:
            _version, shape, kind, is_fortran, raw = state
            content, element = _checked(raw, kind, shape)
            # In place, because the pickle refers to this very object further on.
            np.ndarray.__setstate__(target, (1, shape, element, bool(is_fortran), content))
        elif not isinstance(target, OrderedDict):  # attributes of an ordered dictionary (torch keeps some) are dropped
            raise Refused(f"sets the state of {type(target).__name__}")

    def load_additems(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        if type(target) is not set:
            raise Refused(f"adds items to {type(target).__name__}")
        target.update(items)

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (list, Stub):
            raise Refused(f"appends to {type(target).__name__}")
        target.extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Stub):
            raise Refused(f"sets items of {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def load_bytearray8(self) -> None:
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(count)))  # Python's own step would reserve `count` bytes first


_Machine.dispatch |= {
    opcode[0]: step
    for opcode, step in (
        (pickle.REDUCE, _Machine.load_reduce),
        (pickle.NEWOBJ, _Machine.load_newobj),
        (pickle.NEWOBJ_EX, _Machine.load_newobj_ex),
        (pickle.BUILD, _Machine.load_build),
        (pickle.ADDITEMS, _Machine.load_additems),
        (pickle.APPEND, _Machine.load_append),
        (pickle.APPENDS, _Machine.load_appends),
        (pickle.SETITEM, _Machine.load_setitem),
        (pickle.SETITEMS, _Machine.load_setitems),
        (pickle.BYTEARRAY8, _Machine.load_bytearray8),
    )
}


def read_pickle(
    source: Path | bytes,
    name: str = "",
    stubs: Collection[str] = (),
    makers: Mapping[tuple[str, str], Maker] | None = None,
    load_external: Callable[[Any], Any] | None = None,
) -> Any:
    """Read a pickle without running anything of it.

    Args:
        source: The file, or its contents.
        name: What messages call it; the file's name.
        stubs: Top-level packages whose classes become inert `Stub` objects.
        makers: Further functions that the pickle may call; our own ones, by the names that pickles use.
        load_external: Returns what a persistent id (torch's name for a block of numbers) stands for.

    Returns:
        Numbers, texts, bytes, lists, tuples, dictionaries, sets, numpy arrays and `Stub` objects.

    Raises:
        InputError: The file cannot be read, is damaged, or asks for something that is not allowed, which is named.
    """
    raw, name = (source, name or "The pickle") if isinstance(source, bytes) else (_read(source), name or source.name)
    try:
        return _Machine(io.BytesIO(raw), stubs, {**MAKERS, **(makers or {})}, load_external).load()
    except Refused as refusal:
        raise InputError(
            f"{name} is refused: it {refusal}, which is not needed for data and could be harmful."
        ) from None
    except (
        *(pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError, LookupError, OverflowError),
        *(AssertionError, NameError, MemoryError, RecursionError, NotImplementedError, struct.error),
    ) as error:
        raise InputError(f"{name} is damaged or not a pickle file.") from error


def _read(path: Path) -> bytes:
    """Return the contents of a file after checking its size."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path.name} is larger than {MAX_BYTES // 2**30} GiB.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
