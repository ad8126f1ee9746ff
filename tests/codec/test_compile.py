"""Compiled ahead and compiled by numba: the same bits. What cannot be compiled ahead is refused, with the reason."""

from __future__ import annotations

import ctypes
import importlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from codec import compile as compiling
from codec.compile import CannotCompile, compile_package
from codec.kernel import kernels_from
from codec.library import Library
from codec.stream import StreamEncoder
from codec.stream_decoder import StreamDecoder
from tests.codec.test_stream import FACTS, runs
from tests.vectors.vector import load, names, run

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}
OF_LIBC = {"memset", "memcpy", "memmove", "bcmp"}


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Makes a package of a module's text."""

    def make(name: str, text: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "from codec.kernel import entry, kernel\nfrom codec.signature import I64\nimport numpy as np\n"
            + text
        )
        monkeypatch.syspath_prepend(tmp_path)
        importlib.import_module(name)
        return tmp_path / name

    return make


@pytest.mark.parametrize("name", names())
def test_vectors_come_out_to_the_bit(compiled, name):
    with kernels_from(compiled.libraries):
        assert run(load(name)) == load(name).outputs


@given(runs())
def test_both_ways_give_the_same_bits(compiled, drawn):
    schema, guards, blocks = drawn

    def there_and_back():
        encoder, decoder = StreamEncoder(schema, FACTS, guards=guards), StreamDecoder(schema, FACTS)
        for records, keyframe in blocks:
            block = encoder.encode(records, keyframe=keyframe)
            decoded = decoder.decode(block.seq, block.content).records
            yield block.content, decoded.counts.tobytes(), decoded.states.tobytes(), decoder.group_digest

    with kernels_from(compiled.none):
        by_numba = list(there_and_back())
    with kernels_from(compiled.libraries):
        assert list(there_and_back()) == by_numba


def test_libraries_need_nothing_but_memory_of_libc(compiled):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm here")
    for library in compiled.libraries.values():
        assert isinstance(library, Library)
        listed = subprocess.run(
            [nm, "-D", "-u", library.path], capture_output=True, text=True, check=True
        ).stdout
        assert {line.split()[-1] for line in listed.splitlines()} <= OF_LIBC
        exported = subprocess.run(
            [nm, "-D", "--defined-only", library.path], capture_output=True, text=True, check=True
        )
        assert len(exported.stdout.splitlines()) > 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("@entry\ndef half(x: int) -> float:\n    return x / 2\n", "returns float64"),
        ("@entry\ndef picky(x: int) -> None:\n    if x: raise ValueError\n", "can raise"),
        ("@kernel\ndef f(x):\n    return x + np.int64(2.0 ** x)\n@entry\ndef g(x: int) -> int:\n    return f(x)\n", "can raise"),
        ("", "nothing to compile"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_ahead_is_refused(room, text, complaint):
    with pytest.raises(CannotCompile, match=complaint):
        compile_package(room(f"refused{abs(hash(text))}", text))


def test_an_entry_says_what_it_takes(room):
    folder = room("untyped", "@entry\ndef sum_up(x):\n    return x.sum()\n")
    with pytest.raises(TypeError, match=r"untyped\.sum_up\(x\): an entry takes int, .* not None"):
        compile_package(folder)


def test_other_machines_and_those_without_a_linker(room, monkeypatch):
    folder = room("elsewhere", "@entry\ndef twice(x: int) -> int:\n    return 2 * x\n")
    mine = [one for one in compiling.entries if one.package == folder]
    for machine, number in ELF_MACHINE.items():
        code = compiling._object(mine, machine)
        assert (code[:4], code[18]) == (b"\x7fELF", number)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(
        CannotCompile, match=r"no linker for aarch64 here, .*apt install binutils-aarch64-linux-gnu"
    ):
        compile_package(folder, "aarch64")
    with pytest.raises(CannotCompile, match="x86_64 and aarch64, not for riscv64"):
        compiling._target_machine("riscv64")


def test_a_new_library_leaves_the_old_one_to_those_who_use_it(room):
    folder = room("again", "@entry\ndef twice(x: int) -> int:\n    return 2 * x\n")
    path = compile_package(folder)
    old = ctypes.CDLL(str(path))
    inode = path.stat().st_ino
    assert compile_package(folder) == path
    assert path.stat().st_ino != inode
    old["again.twice"].restype = ctypes.c_int64
    assert old["again.twice"](np.array([21]).ctypes.data_as(ctypes.c_void_p)) == 42
