"""`@kernel`: a numba function that is compiled once per machine, and again when any source of its package changes.

numba's cache looks at the file of the cached function alone: after a change to a function that it calls it would go on
running the old one, and two sides of a stream could run different predictors (its documentation calls this a known
limitation of caching). So the cache's stamp is made from all sources of the package.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def _stamp(package: Path) -> str:
    digest = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles without the GIL, wrapping integers, dividing by zero as numpy does, never with fast-math.

    Kernels allocate nothing, so nothing counts references to arrays either (`_nrt`): atomic increments at every call
    of a small function cost three to five times what the codec itself does.
    """
    compiled = njit(cache=True, error_model="numpy", nogil=True, _nrt=False)(function)
    compiled._cache._cache_file._source_stamp = _stamp(Path(function.__code__.co_filename).parent)  # noqa: SLF001
    return compiled
