"""The kernels of codec and decoder, compiled ahead for this very machine, and packages with them beside their sources."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from codec.__main__ import imported
from codec.compile import compile_package
from codec.library import Library, Unfit, library_path, open_library

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_NUMBA = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None; "


@dataclass(frozen=True, slots=True)
class Compiled:
    """By folder of their package: libraries, and the lack of them."""

    libraries: dict[Path, Library | Unfit]
    none: dict[Path, Library | Unfit]  # what makes numba compile

    def install(self, folder: Path, *packages: str) -> None:
        """Copies packages there, with these libraries where they have any."""
        for name in packages:
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "kernels.*.so")
            )
            library = self.libraries.get(ROOT / name)
            if isinstance(library, Library):
                shutil.copyfile(library.path, library_path(folder / name))


def compile_all(folder: Path) -> Compiled:
    """Compiles into that folder."""
    libraries: dict[Path, Library | Unfit] = {}
    for name in ("codec", "decoder"):
        path = compile_package(imported(name), to=folder / f"{name}.so")
        libraries[ROOT / name] = open_library(ROOT / name, path)
    assert all(isinstance(library, Library) for library in libraries.values()), libraries
    return Compiled(libraries, dict.fromkeys(libraries, Unfit("not asked for")))
