"""`@kernel`: a function of numbers and arrays that runs as machine code. `@entry`: a kernel that Python calls.

Rules
- Kernels allocate nothing and raise nothing; they never run with fast-math, wrap integers, and divide by zero as numpy
  does. So nothing counts references to arrays either (`_nrt`): atomic increments at every call of a small function cost
  three to five times what the codec itself does, and numba refuses a kernel that allocates.
- Entries come from the library beside their package (`python -m codec compile`) where it fits this machine and these
  very sources. Elsewhere numba compiles them when they are first called: once per machine, and again when any source
  changes. Both give the same bits.
- numba is imported when it is needed and not before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.errors import NoKernels
from codec.library import Library, Unfit, open_library, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

entries: list[Entry] = []
_libraries: dict[Path, Library | Unfit] = {}  # by package


class Kernel:
    """Runs its function, and is the function itself to numba."""

    run: Callable[..., Any]  # what a call comes down to

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.package = Path(function.__code__.co_filename).parent
        self.settle()

    def __call__(self, *arguments: Any) -> Any:
        return self.run(*arguments)

    def settle(self) -> None:
        """Decides at the next call how to run."""
        self.run = self._first

    def _first(self, *arguments: Any) -> Any:
        self.run = self.jit
        return self.run(*arguments)

    @functools.cached_property
    def jit(self) -> Any:
        """The function as numba's dispatcher. Raises NoKernels."""
        try:
            from numba import njit
        except ImportError:
            raise no_kernels(self.package) from None
        compiled = njit(cache=True, error_model="numpy", nogil=True, _nrt=False)(self.function)
        if hasattr(compiled, "_cache"):  # not under NUMBA_DISABLE_JIT
            # numba's cache looks at the file of the cached function alone: after a change to a function that it calls
            # it would go on running the old one, and two sides of a stream could run different predictors (its
            # documentation calls this a known limitation of caching).
            compiled._cache._cache_file._source_stamp = stamp(self.package)  # noqa: SLF001
        return compiled

    @property
    def _numba_type_(self) -> Any:
        return self.jit._numba_type_


class Entry(Kernel):
    """A kernel that may be found in a library."""

    def _first(self, *arguments: Any) -> Any:
        library = library_of(self.package)
        self.run = library.call(self.function) if isinstance(library, Library) else self.jit
        return self.run(*arguments)


def kernel(function: Callable[..., Any]) -> Any:
    """A kernel that other kernels call. Called from Python, it runs by numba."""
    return Kernel(function)


def entry(function: Callable[..., Any]) -> Any:
    """A kernel that Python calls. Its annotations are types of `codec.signature`; it returns an integer or None."""
    entries.append(Entry(function))
    return entries[-1]


def library_of(package: Path) -> Library | Unfit:
    """Where the entries of a package come from; `Unfit`: from numba, and why."""
    if package not in _libraries:
        _libraries[package] = open_library(package)
    return _libraries[package]


def origin(module: ModuleType) -> str:
    """Where the kernels of a package come from, in words. Raises NoKernels."""
    package = Path(module.__path__[0])
    library = library_of(package)
    if isinstance(library, Library):
        return f"compiled ahead: {library.path}"
    if importlib.util.find_spec("numba") is None:
        raise no_kernels(package)
    return f"numba: {library.reason}"


def no_kernels(package: Path) -> NoKernels:
    """Where numba is not installed."""
    library = library_of(package)
    reason = library.reason if isinstance(library, Unfit) else f"{library.path} has only what Python calls"
    return NoKernels(f"{reason}. Where numba is installed, none of this is needed: pip install numba")


@contextlib.contextmanager
def kernels_from(libraries: Mapping[Path, Library | Unfit]) -> Iterator[None]:
    """For comparisons: entries of these packages come from these libraries meanwhile."""
    before = _libraries.copy()
    _libraries.update(libraries)
    _settle_all()
    try:
        yield
    finally:
        _libraries.clear()
        _libraries.update(before)
        _settle_all()


def _settle_all() -> None:
    for one in entries:
        one.settle()
