"""The house rules, held over the whole repository, and each shown to be able to fail."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import house_rules

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protos", "codec", "decoder", "edge_agent", "collector", "replay_logs", "demo", "benchmarks")
EXTRAS = ("agent", "collector", "logs", "reading", "models", "dev")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Where a package's imports have to be declared. "" stands for what everybody installs.
EXTRAS_OF = {
    "protos": ("agent", "collector"),
    "codec": ("", "collector", "dev"),  # numba where no compiled kernels fit; llvmlite to compile them
    "decoder": ("", "agent", "logs"),
    "edge_agent": ("", "agent"),
    "collector": ("", "collector", "reading", "models"),
    "replay_logs": ("", "logs"),
    "demo": ("", "agent", "collector", "logs", "models"),
    "benchmarks": ("", "agent", "collector", "logs", "models", "dev"),
}
IMPORTED_AS = {
    "can": "python-can",
    "dotenv": "python-dotenv",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_tools": "grpcio-tools",
    "sklearn": "scikit-learn",
}
GENERATED = ("_pb2.py", "_pb2_grpc.py")


def tracked(*patterns: str) -> list[str]:
    """Files as they stand in the working tree, git's ignored ones left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def sources() -> dict[str, str]:
    return {name: (ROOT / name).read_text() for name in tracked("*.py") if not name.endswith(GENERATED)}


def declared() -> dict[str, dict[str, str]]:
    """{extra: {package: lower bound}}; the extra of what everybody installs is ""."""
    project = PYPROJECT["project"]
    return {
        extra: dict(map(house_rules.requirement, wanted))
        for extra, wanted in {"": project["dependencies"], **project["optional-dependencies"]}.items()
    }


def lock_of(extra: str) -> str:
    return (ROOT / "requirements" / f"{extra}.lock").read_text()


@pytest.mark.parametrize("rule", [house_rules.names_that_say_nothing, house_rules.too_long])
def test_source_files_keep_the_rule(rule):
    assert [complaint for path, source in sources().items() for complaint in rule(path, source)] == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (house_rules.names_that_say_nothing, "codec/utils.py", ""),
        (house_rules.names_that_say_nothing, "collector/helpers/sql.py", ""),
        (house_rules.names_that_say_nothing, "codec/bits.py", "class BitManager: ..."),
        (house_rules.too_long, "codec/bits.py", "x = 1\n" * 501),
        (house_rules.too_long, "codec/bits.py", "def f():\n" + "    x = 1\n" * 69),
    ],
)
def test_the_rule_can_fail(rule, path, source):
    assert list(rule(path, source))


def test_tests_mirror_the_packages():
    modules = {name for name in tracked("*.py") if name.partition("/")[0] in PACKAGES}
    tests = [name for name in tracked("tests/**/test_*.py") if name.split("/")[1] in PACKAGES]
    assert list(house_rules.tests_of_nothing(tests, modules)) == []
    assert list(house_rules.tests_of_nothing(["tests/codec/test_gone.py"], modules))


def test_each_package_imports_only_what_its_extras_install():
    extras = declared()
    for path, source in sources().items():
        package = path.partition("/")[0]
        if package not in PACKAGES:
            continue
        installed = {name for extra in EXTRAS_OF[package] for name in extras[extra]}
        imported = {
            IMPORTED_AS.get(name, name) for name in house_rules.imported_packages(source) - set(PACKAGES)
        }
        assert imported <= installed, (
            f"{path} imports {sorted(imported - installed)}; declare it in pyproject.toml"
        )
    assert house_rules.imported_packages(
        "def f():\n    import os, pandas.io\n    from rich.table import Table"
    ) == {"pandas", "rich"}


def test_the_sans_io_contract_names_modules_that_exist():
    contracts = {contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
    for module in contracts["sans-io"]["source_modules"]:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), module


def test_the_whole_codec_is_sans_io_but_for_its_commands():
    contracts = {contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
    modules = {name.removesuffix(".py").replace("/", ".") for name in tracked("codec/*.py")}
    commands = {"codec.__init__", "codec.__main__", "codec.compile", "codec.training"}
    assert modules - commands - set(contracts["sans-io"]["source_modules"]) == set()


def test_generated_protos_are_current(tmp_path):
    tools = Path(sys.executable).parent
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    plugins = [f"--plugin={name}={tools / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *plugins, *outputs, "protos/telemetry.proto"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    fresh = sorted((tmp_path / "protos").iterdir())
    assert len(fresh) == 4
    for file in fresh:
        assert file.read_text() == (ROOT / "protos" / file.name).read_text(), (
            f"protos/{file.name} is stale: make protos"
        )


def test_lower_bounds_cover_what_the_generated_code_asks_for():
    asks = {
        "protobuf": re.search(
            r"Protobuf Python Version: ([\d.]+)", (ROOT / "protos/telemetry_pb2.py").read_text()
        ),
        "grpcio": re.search(
            r"GRPC_GENERATED_VERSION = '([\d.]+)'", (ROOT / "protos/telemetry_pb2_grpc.py").read_text()
        ),
    }
    for extra in ("agent", "collector"):
        for package, wanted in asks.items():
            assert wanted
            assert house_rules.version(declared()[extra][package]) >= house_rules.version(wanted[1]), (
                f"{extra}: {package}"
            )


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_is_complete(extra):
    lock = lock_of(extra)
    assert list(house_rules.lock_faults(lock)) == []
    wanted = (
        declared()[""]
        | declared()[extra]
        | dict(map(house_rules.requirement, PYPROJECT["build-system"]["requires"]))
    )
    pinned = house_rules.pins(lock)
    for name, bound in wanted.items():
        assert name in pinned, f"{name} is not in requirements/{extra}.lock: make lock"
        assert all(house_rules.version(found) >= house_rules.version(bound) for found in pinned[name]), name


def test_a_lock_can_be_incomplete():
    pin = "rich==15.0.0 \\\n    --hash=sha256:" + "0" * 64
    assert list(house_rules.lock_faults(pin)) == []
    assert list(house_rules.lock_faults("rich==15.0.0")) == ["rich has no hash"]
    assert list(house_rules.lock_faults(pin + "\nrich>=14")) == ["not a pin: rich>=14"]
    assert list(house_rules.lock_faults(pin + "\n# --index-url https://example.org")) == [
        "it names an address"
    ]


def test_all_locks_agree_and_dev_has_everything():
    everything = house_rules.pins(lock_of("dev"))
    for extra in EXTRAS:
        for name, versions in house_rules.pins(lock_of(extra)).items():
            assert everything[name] == versions, name


def test_every_direct_dependency_has_a_lower_bound():
    assert [name for extra in declared().values() for name, bound in extra.items() if not bound] == []


def test_the_locked_build_backend_is_the_one_that_is_asked_for():
    lines = (ROOT / "requirements" / "build.in").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == PYPROJECT["build-system"]["requires"]


def test_every_direct_dependency_is_justified():
    wanted = {extra: set(packages) for extra, packages in declared().items()}
    page = house_rules.dependency_page((ROOT / "docs" / "dependencies.md").read_text())
    assert list(house_rules.undocumented(wanted, page)) == []
    assert list(house_rules.undocumented({"agent": {"numpy"}}, {})) == ["numpy: no line in section `agent`"]
    assert list(house_rules.undocumented({}, {"": {"numpy": "arrays of records"}}))


def test_every_data_file_of_a_package_is_installed_with_it():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["*"]
    for name in tracked(*(f"{package}/" for package in PACKAGES if package != "benchmarks")):
        assert name.endswith(".py") or any(Path(name).match(pattern) for pattern in patterns), name
