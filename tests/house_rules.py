"""House rules as functions from text to complaints, so that each can be shown a text that breaks it."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 69
SAY_NOTHING = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "manager",
    "managers",
    "handler",
    "handlers",
}
_CLASS_ENDINGS = re.compile(r".+(Manager|Helper|Handler|Util|Utils)$")
_PIN = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^\s;]+)(?: ; [^\\\n]+?)?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})*)$",
    re.MULTILINE,
)


def names_that_say_nothing(path: str, source: str) -> Iterator[str]:
    for part in re.split(r"[/.]", path.removesuffix(".py")):
        if part.strip("_").removeprefix("test_") in SAY_NOTHING:
            yield f"{path}: {part!r} says nothing about what is in it"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and _CLASS_ENDINGS.match(node.name):
            yield f"{path}:{node.lineno}: class {node.name}: name what it is, not that it handles something"


def too_long(path: str, source: str) -> Iterator[str]:
    lines = source.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{path}: {lines} lines, at most {FILE_LINES_MAX}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def imported_packages(source: str) -> set[str]:
    """Top-level names of everything that is imported, at the top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"__future__"}


def tests_of_nothing(tests: Iterable[str], modules: set[str]) -> Iterator[str]:
    """Tests of a package that name no module of it: tests/codec/test_schema.py mirrors codec/schema.py."""
    for test in tests:
        folder, _, name = test.removeprefix("tests/").rpartition("/")
        module = f"{folder}/{name.removeprefix('test_')}"
        mirrored = {
            module,
            module.removesuffix(".py") + "/__init__.py",
            f"{folder}/__{name.removeprefix('test_').removesuffix('.py')}__.py",
        }
        if not mirrored & modules:
            yield f"{test} mirrors no module: there is no {module}"


def requirement(text: str) -> tuple[str, str]:
    """("python-can", "4.5") of "python-can[extra]>=4.5"; the bound is empty where there is none."""
    name, _, bound = re.sub(r"\[.*?\]", "", text).partition(">=")
    return re.sub(r"[-_.]+", "-", name.strip()).lower(), bound.strip()


def pins(lock: str) -> dict[str, list[str]]:
    """Versions per package of a lock: several where they differ by marker."""
    found: dict[str, list[str]] = {}
    for match in _PIN.finditer(lock):
        found.setdefault(match["name"], []).append(match["version"])
    return found


def lock_faults(lock: str) -> Iterator[str]:
    """Lines that are no pin, pins without a hash, addresses."""
    for match in _PIN.finditer(lock):
        if not match["hashes"]:
            yield f"{match['name']} has no hash"
    for line in _PIN.sub("", lock).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"not a pin: {line.strip()}"
    if "://" in lock:
        yield "it names an address"


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def dependency_page(text: str) -> dict[str, dict[str, str]]:
    """{extra: {package: why}} of docs/dependencies.md; the section without an extra is ""."""
    page: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            extra = re.search(r"`([a-z]+)`", line)
            section = page.setdefault(extra[1] if extra else "", {})
        elif (match := re.match(r"\| ([a-z0-9-]+) \| (.*) \|$", line)) and match[1] != "package":
            section[match[1]] = match[2].strip()
    return page


def undocumented(declared: dict[str, set[str]], page: dict[str, dict[str, str]]) -> Iterator[str]:
    for extra in sorted(declared | page):
        have, want = page.get(extra, {}), declared.get(extra, set())
        where = f"section `{extra}`" if extra else "the section for everywhere"
        yield from (f"{name}: no line in {where}" for name in sorted(want - have.keys()))
        yield from (
            f"{name}: {where} has a line for it, pyproject.toml does not"
            for name in sorted(have.keys() - want)
        )
        yield from (f"{name}: {where} gives no reason" for name in sorted(have) if len(have[name]) < 10)
