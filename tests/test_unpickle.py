"""The restricted unpickler: data come back whole, and nothing that a pickle asks for ever runs."""

from __future__ import annotations

import argparse
import collections
import contextlib
import copyreg
import importlib
import io
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from cteg.errors import InputError
from tests.malice import Call
from training.unpickle import Foreign, Maker, Stub, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_data_come_back_whole(protocol):
    generator = np.random.default_rng(0)
    data = {
        "text": ["hello", "naïve ☺", ""],
        "frames": [generator.normal(size=(n, 53)) for n in (0, 1, 7)],
        "fortran": np.asfortranarray(generator.normal(size=(3, 4)).astype(np.float32)),
        "integers": np.arange(5, dtype=np.uint16),
        "truth": np.array([True, False]),
        "big_endian": np.arange(3, dtype=">i4"),
        "scalar": np.float32(2.5),
        "ordered": collections.OrderedDict(a=1, b=(2, None)),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "shared": [np.ones(2)] * 2,
        "nested": [[[1.5], (True, -3)], 10**30],
    }
    found = read_pickle(pickle.dumps(data, protocol))
    assert found.keys() == data.keys()
    for name in ("text", "ordered", "set", "bytes", "nested"):
        assert found[name] == data[name]
    for name in ("fortran", "integers", "truth", "big_endian", "scalar"):
        np.testing.assert_array_equal(found[name], data[name])
        assert found[name].dtype.newbyteorder("=") == data[name].dtype.newbyteorder("=")
    for got, want in zip(found["frames"], data["frames"], strict=True):
        np.testing.assert_array_equal(got, want)
    assert found["shared"][0] is found["shared"][1]


@pytest.mark.parametrize("multiarray", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_both_numpy_names_are_read(multiarray):
    raw = pickle.dumps(np.arange(3.0), 2)
    name = b"numpy._core.multiarray" if b"numpy._core.multiarray" in raw else b"numpy.core.multiarray"
    np.testing.assert_array_equal(read_pickle(raw.replace(name, multiarray)), [0, 1, 2])


def test_a_python_2_pickle_is_read():
    """What Python 2 and numpy 1 write under protocol 2: byte strings, `copy_reg`, `__builtin__`."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x02\x85cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x10" + np.array([1.5, -2.25]).tobytes() + b"tb"
    )
    old_object = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR}U\x01x" + array + b"sb"
    old_set = b"U\x03setc__builtin__\nset\n]K\x05a\x85R"
    found = read_pickle(b"\x80\x02}(U\x01a" + array + b"U\x01b" + old_object + old_set + b"u.", stubs=("chumpy",))
    np.testing.assert_array_equal(found["a"], [1.5, -2.25])
    assert found["b"].kind == Foreign("chumpy.ch", "Ch")
    np.testing.assert_array_equal(found["b"].state["x"], [1.5, -2.25])
    assert found["set"] == {5}


def test_foreign_objects_become_inert_stubs():
    raw = pickle.dumps({"matrix": sparse.csc_matrix(np.eye(2)), "settings": argparse.Namespace(size=3)})
    found = read_pickle(raw, stubs=("scipy", "argparse"))
    assert isinstance(found["matrix"], Stub)
    assert found["settings"].state == {"size": 3}
    assert str(found["settings"].kind) == "argparse.Namespace"
    with pytest.raises(InputError, match=r"asks for argparse\.Namespace"):
        read_pickle(raw, stubs=("scipy",))


def test_a_caller_can_lend_functions_and_outside_data():
    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            return ("outside", 4) if value is marker else None

    marker, file = object(), io.BytesIO()
    Writer(file).dump([marker, collections.Counter(a=1)])
    makers = {("collections", "Counter"): Maker(dict)}
    assert read_pickle(file.getvalue(), makers=makers, load_external=list) == [["outside", 4], {"a": 1}]
    with pytest.raises(InputError, match="outside of itself"):
        read_pickle(file.getvalue(), makers=makers)


# -- malice ------------------------------------------------------------------------------------------------------------


class WithState:
    """Pickles as a call whose result is given a state."""

    def __init__(self, function, arguments, state):
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


def hidden_in_an_array(call):
    array = np.empty(1, dtype=object)
    array[0] = call
    return array


def raw(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def attacks(mark: Path) -> dict[str, bytes]:
    """Pickles that create the file `mark` when a plain unpickler reads them, or misuse what is allowed."""
    command, code = f"touch {mark}", f"open({str(mark)!r}, 'w').close()"
    system, run = Call(os.system, command), Call(exec, code)
    posix = b"c" + os.system.__module__.encode() + b"\nsystem\n"
    attribute = b"\x8c\x05numpy\x8c\x0endarray.tofile\x93"
    return {
        "os.system": pickle.dumps(system),
        "os.system, text protocol": pickle.dumps(system, 0),
        "exec": pickle.dumps({"v_template": np.ones(3), "f": run}),
        "eval through builtins": pickle.dumps(Call(eval, f"__import__('os').system({command!r})")),
        "getattr chain": pickle.dumps(Call(getattr, Call(importlib.import_module, "os"), "system")),
        "object array": pickle.dumps(hidden_in_an_array(run)),
        "state of a list": pickle.dumps(WithState(list, (), {"a": run})),
        "state of a dictionary": pickle.dumps(WithState(collections.OrderedDict, (), {"__reduce__": run})),
        "copyreg": pickle.dumps(Call(copyreg._reconstructor, Path, object, None)),
        "copyreg of a stub, called": raw(b"ccopyreg\n_reconstructor\n(cchumpy\nCh\ncbuiltins\nobject\nNtR", b")R"),
        "called stub class": raw(b"cchumpy.ch\nexec\n(", text(code), b"tR"),
        "old instance": b"(S'" + command.encode() + b"'\ni" + posix[1:] + b".",
        "old object": raw(b"(", posix, text(command), b"o"),
        "new object": raw(posix, b"(", text(command), b"t\x81"),
        "new object with names": raw(posix, b"(", text(command), b"t}\x92"),
        "dotted name": raw(attribute),
        "extension": raw(b"\x82\x01"),
        "persistent id": raw(text("x"), b"Q"),
        "state of a function": raw(b"ccollections\nOrderedDict\n}", text("__call__"), posix, b"sb"),
        "slots of a class": raw(b"cnumpy\nndarray\nN}", text("tofile"), posix, b"s\x86b"),
        "item of an array": pickle.dumps(np.ones(2), 2)[:-1] + b"K\x00" + posix + b"s.",
        "text encoded by another codec": pickle.dumps(Call(__import__("_codecs").encode, "x", "zip")),
        "array with fields": pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
        "array of text": pickle.dumps(np.array(["a"])),
        "subclass of the array": pickle.dumps(np.ma.array([1.0])),
    }


ATTACKS = attacks(Path("/nowhere"))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("stubs", [(), ("chumpy", "scipy")])
def test_nothing_runs(attack, stubs, tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "attack.pkl"
    path.write_bytes(attacks(mark)[attack])
    with pytest.raises(InputError, match=r"attack\.pkl is (refused|damaged)"):
        read_pickle(path, stubs=stubs)
    assert not mark.exists()


INERT = ("new object", "new object with names", "old object", "old instance", "dotted name", "copyreg")
"""Attacks that make an object of a permitted package, or name it; an object is an inert stub."""


def test_even_permitted_packages_are_never_called(tmp_path):
    """With every package permitted as stub, calls are refused all the same, and names stay names."""
    mark = tmp_path / "mark"
    packages = ("os", "posix", "nt", "builtins", "importlib", "pathlib", "collections", "numpy", "chumpy")
    for name, attack in attacks(mark).items():
        if name not in INERT:
            with pytest.raises(InputError):
                read_pickle(attack, stubs=packages)
        else:
            read_pickle(attack, stubs=packages)
        assert not mark.exists(), name


def test_the_attacks_are_real(tmp_path):
    """Python's own unpickler does create the file, so the tests above would notice."""
    mark = tmp_path / "mark"
    for name in ("os.system", "exec", "object array"):
        pickle.loads(attacks(mark)[name])
        assert mark.exists(), name
        mark.unlink()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"not a pickle",
        pickle.dumps(np.ones(100))[:-50],
        raw(b"\x8e" + (2**62).to_bytes(8, "little")),  # announces more bytes than any memory holds
        raw(b"\x96" + (2**62).to_bytes(8, "little")),
        raw(b"Nr\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff"),  # numbers of memory cells that leave a gap of gigabytes
        raw(b"cnumpy\ndtype\n(" + text("f16000000") + b"tR"),
        b"\x80\x04\x8e\x01\x02",  # a length that is cut off
    ],
)
def test_damaged_files_end_with_one_sentence(damaged):
    with pytest.raises(InputError):
        read_pickle(damaged, "some.pkl")


def test_mutated_files_end_with_one_sentence_too():
    generator = np.random.default_rng(0)
    good = pickle.dumps({"a": np.arange(4.0), "b": collections.OrderedDict(x=[1, (2, "é")]), "s": {1, 2}}, 4)
    for _ in range(2000):
        mutated = bytearray(good)
        for place in generator.integers(len(good), size=generator.integers(1, 5)):
            mutated[place] = generator.integers(256)
        with contextlib.suppress(InputError):
            read_pickle(bytes(mutated))


def test_a_wrong_size_of_an_array_is_refused():
    good = pickle.dumps(np.ones(4), 2)
    for opcode, argument, position in pickletools.genops(good):
        if opcode.name == "BININT1" and argument == 4:
            bad = good[: position + 1] + b"\x05" + good[position + 2 :]
            with pytest.raises(InputError, match="shape"):
                read_pickle(bad)
            return
    pytest.fail("no size found")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        read_pickle(tmp_path / "none.pkl")
