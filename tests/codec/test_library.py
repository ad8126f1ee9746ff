"""Libraries that fit are called, others are refused by name; arguments are what was promised, or a TypeError."""

from __future__ import annotations

import importlib
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.compile import compile_package
from codec.kernel import kernels_from
from codec.library import Library, Unfit, library_path, open_library, sealed, stamp

TEXT = """
from typing import NamedTuple
import numpy as np
from codec.kernel import entry, kernel
from codec.signature import F64, I64, I64x2, U8, U16x3

class Pair(NamedTuple):
    numbers: I64
    table: I64x2

@kernel
def at(table, i, j):
    return table[i, j]

@entry
def mix(bytes_: U8, pair: Pair, factor: float, minus: bool, start: int, cube: U16x3, out: F64) -> int:
    total = start
    for i in range(bytes_.size):
        total += bytes_[i]
    for i in range(pair.numbers.size):
        total += pair.numbers[i]
    for i in range(pair.table.shape[0]):
        for j in range(pair.table.shape[1]):
            total += at(pair.table, i, j) * (i + 1) * (j - 1)
            pair.table[i, j] += 1
    for i in range(cube.shape[0]):
        total += cube[i, cube.shape[1] - 1, cube.shape[2] - 1]
    for i in range(out.size):
        out[i] = total * factor + i
    return -total if minus else total
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(module, its library) of a package whose kernel takes one of everything."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "everything").mkdir()
    (folder / "everything" / "__init__.py").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        module = importlib.import_module("everything")
    compile_package(folder / "everything")
    library = open_library(folder / "everything")
    assert isinstance(library, Library), library
    return module, library


def given_to(module, seed: int, shape: tuple[int, int]) -> list:
    rng = np.random.default_rng(seed)
    rows, columns = shape
    pair = module.Pair(rng.integers(-1000, 1000, rows), rng.integers(-(2**62), 2**62, shape))
    cube = rng.integers(0, 65536, (columns, 2, 3)).astype(np.uint16)
    return [
        rng.integers(0, 256, 5).astype(np.uint8),
        pair,
        rng.random(),
        bool(seed % 2),
        -seed,
        cube,
        np.zeros(rows),
    ]


@given(st.integers(0, 10**9), st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_every_kind_of_argument_arrives(made, seed, shape):
    module, library = made
    results = []
    for source in (library, Unfit("numba was asked for")):
        arguments = given_to(module, seed, shape)
        with kernels_from({library.path.parent: source}):
            returned = [module.mix(*arguments) for _ in range(2)]  # the second time the pair is known
        results.append((returned, arguments[1].table.tolist(), arguments[-1].tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("place", "wrong", "complaint"),
    [
        (0, np.zeros(5), "mix: bytes_ is uint8 in 1 dimensions, not float64 in 1"),
        (0, np.zeros((1, 5), np.uint8), "mix: bytes_ is uint8 in 1 dimensions, not uint8 in 2"),
        (0, np.zeros(10, np.uint8)[::2], "mix: bytes_ is contiguous, row by row; this array is not"),
        (5, np.zeros((2, 3, 4), np.uint16).T, "mix: cube is contiguous"),
    ],
)
def test_an_array_that_was_not_promised_is_refused(made, place, wrong, complaint):
    module, library = made
    arguments = given_to(module, 1, (2, 3))
    arguments[place] = wrong
    with kernels_from({library.path.parent: library}), pytest.raises(TypeError, match=complaint):
        module.mix(*arguments)


def test_too_few_arguments_are_refused(made):
    module, library = made
    with kernels_from({library.path.parent: library}), pytest.raises(ValueError, match="shorter"):
        module.mix(*given_to(module, 1, (2, 3))[:-1])


def test_read_only_arrays_are_taken(made):
    module, library = made
    arguments = given_to(module, 2, (2, 3))
    arguments[0] = np.frombuffer(bytes(arguments[0]), np.uint8)
    with kernels_from({library.path.parent: library}):
        assert module.mix(*arguments) == module.mix(*given_to(module, 2, (2, 3)))


def test_a_library_that_does_not_fit_is_refused_by_name(made, tmp_path):
    folder = tmp_path / "everything"
    shutil.copytree(made[1].path.parent, folder)
    assert isinstance(open_library(folder), Library)
    stamp.cache_clear()
    (folder / "another.py").write_text("# one more source")
    refused = open_library(folder)
    assert isinstance(refused, Unfit)
    assert refused.reason == (
        f"{library_path(folder)} was compiled from other sources; python -m codec compile everything makes it anew"
    )
    (folder / "another.py").unlink()
    stamp.cache_clear()
    sound = library_path(folder).read_bytes()
    flipped = sound[:100] + bytes([sound[100] ^ 1]) + sound[101:]
    for content in (b"", b"no library", sound[:1000], sound[:-1], flipped):
        library_path(folder).unlink()  # the one before it is still mapped
        library_path(folder).write_bytes(content)
        assert open_library(folder) == Unfit(
            f"{library_path(folder)} is damaged; python -m codec compile everything makes it anew"
        )
    foreign = folder / "foreign.so"
    foreign.write_bytes(sealed(b"\x7fELF of another machine", stamp(folder)))
    refused = open_library(folder, foreign)
    assert isinstance(refused, Unfit)
    assert refused.reason.startswith(f"{foreign} cannot be loaded: ")
    library_path(folder).unlink()
    refused = open_library(folder)
    assert refused == Unfit(
        f"no {library_path(folder).name} in {folder}; python -m codec compile everything makes it"
    )
    stamp.cache_clear()
