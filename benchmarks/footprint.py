"""What the agent takes of a vehicle: `make wheel && python -m benchmarks.footprint`.

The wheel is installed twice, each time in an environment of its own, as a vehicle installs it: with its compiled kernels,
and without them and with numba. Bytes installed, time and memory of an import; then a real agent samples our city drive
at 50 Hz in real time and sends to a real collector.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.backlog import document
from benchmarks.pair import Pair, PairError, warm
from benchmarks.screen import console, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS = 60.0
SAMPLE_S = 0.5
IMPORTS = 7
ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
NUMBA = ("llvmlite", "numba")
_IMPORT = """
import time
start = time.perf_counter()
import edge_agent.app
seconds = time.perf_counter() - start
import psutil, sys
print(seconds, psutil.Process().memory_info().rss, *(name for name in ("numba", "llvmlite") if name in sys.modules))
"""


@dataclass(frozen=True, slots=True)
class Footprint:
    """One environment. The names are the keys of the JSON."""

    kernels: str  # "compiled": ahead of time, no numba installed; "numba": by it, on the vehicle
    installed_bytes: int
    import_s: float  # of all that the agent imports, files cached
    import_rss_bytes: int
    first_start_cpu_s: float  # until its first block is stored
    rss_bytes: int  # started again: median while it samples
    rss_bytes_max: int
    cpu_share: float  # of one core


def locked(lock: str, names: Sequence[str]) -> str:
    """The requirements of a lock that have these names, with their hashes."""
    requirements = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)
    return "".join(one for one in requirements if re.match(rf"({'|'.join(names)})==", one))


def install(folder: Path, wheel: Path, *, numba: bool) -> Path:
    """Makes an environment as a vehicle has it; returns its interpreter. Raises CalledProcessError."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    requirements = ["-r", str(LOCKS / "agent.lock")]
    if numba:
        more = folder / "numba.lock"
        more.write_text(locked((LOCKS / "dev.lock").read_text(), NUMBA))
        requirements += ["-r", str(more)]
    subprocess.run([*pip, "install", "--quiet", "--require-hashes", *requirements], check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", wheel], check=True)
    if numba:
        for kernels in environment.glob("lib/*/site-packages/*/kernels.*.so"):
            kernels.unlink()
    return python


def installed_bytes(python: Path) -> int:
    """Of all files that were installed; Python itself is not counted."""
    packages = python.parent.parent.glob("lib/*/site-packages/**/*")
    return sum(path.stat().st_size for path in packages if path.is_file())


def import_once(python: Path, *, numba: bool) -> tuple[float, int]:
    """(seconds, bytes of memory) of a process that imports the agent. Raises PairError where it is not what is measured."""
    ran = subprocess.run([python, "-I", "-c", _IMPORT], check=False, capture_output=True, text=True)
    if ran.returncode:
        raise PairError(ran.stderr)
    seconds, rss_bytes, *loaded = ran.stdout.split()
    if loaded and not numba:
        raise PairError(f"the agent imports {' and '.join(loaded)}")
    return float(seconds), int(rss_bytes)


async def run(folder: Path, python: Path, seconds: float) -> tuple[float, Pair]:
    """An agent at work, twice: the seconds of a core that its first start took, and the pair of the second, with its samples.

    Raises PairError.
    """
    pair = Pair(folder)
    try:
        await pair.open()
        settings = pair.settings(document())
        pair.start_agent(settings, (str(python), "-I"))
        while pair.stored() is None:
            pair.sample()
            await asyncio.sleep(SAMPLE_S)
        pair.sample()
        first_start_cpu_s = pair.agent_samples[-1].cpu_s
        await pair.stop_agent()
        pair.start_agent(settings, (str(python), "-I"))
        pair.agent_samples.clear()
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            await asyncio.sleep(SAMPLE_S)
            pair.sample()
        return first_start_cpu_s, pair
    finally:
        await pair.close()


def measure(folder: Path, wheel: Path, seconds: float) -> Iterator[Footprint]:
    """Raises PairError and CalledProcessError."""
    for kernels in ("compiled", "numba"):
        numba = kernels == "numba"
        mine = folder / kernels
        mine.mkdir()
        python = install(mine, wheel, numba=numba)
        size = installed_bytes(python)
        import_once(python, numba=numba)  # writes what Python keeps of sources
        imports = [import_once(python, numba=numba) for _ in range(IMPORTS)]
        first_start_cpu_s, pair = asyncio.run(run(mine, python, seconds))
        samples = warm(pair.agent_samples)
        yield Footprint(
            kernels=kernels,
            installed_bytes=size,
            import_s=statistics.median(one[0] for one in imports),
            import_rss_bytes=round(statistics.median(one[1] for one in imports)),
            first_start_cpu_s=first_start_cpu_s,
            rss_bytes=round(statistics.median(sample.rss_bytes for sample in samples)),
            rss_bytes_max=max(sample.rss_bytes for sample in pair.agent_samples),
            cpu_share=(samples[-1].cpu_s - samples[0].cpu_s) / (samples[-1].at_s - samples[0].at_s),
        )


def show(found: Sequence[Footprint]) -> None:
    table = Table(box=SIMPLE_HEAD, title="what the agent takes of a vehicle: MB, and a core")
    for heading in ("kernels", "installed", "import", "memory\nthen", "core until the\nfirst block", "memory\nat work", "at\nmost", "core\nat work"):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            one.kernels,
            f"{one.installed_bytes / 1e6:,.1f}",
            f"{one.import_s:.2f} s",
            f"{one.import_rss_bytes / 1e6:,.1f}",
            f"{one.first_start_cpu_s:,.1f} s",
            f"{one.rss_bytes / 1e6:,.1f}",
            f"{one.rss_bytes_max / 1e6:,.1f}",
            f"{one.cpu_share:.2%}",
        )
    console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--wheel", type=Path, help="default: the newest in dist/, where `make wheel` puts it")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of sampling, each (default: %(default)g)"
    )
    parser.add_argument("--json", type=Path, help="write the same as data")
    options = parser.parse_args(arguments)
    wheels = sorted((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    wheel = options.wheel or (wheels[-1] if wheels else None)
    if wheel is None:
        print("benchmarks.footprint: there is no wheel in dist/; make wheel", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        try:
            found = list(measure(Path(folder), wheel, options.seconds))
        except (PairError, subprocess.CalledProcessError) as error:
            print(f"benchmarks.footprint: {error}", file=sys.stderr)
            return 1
    show(found)
    write_json(options.json, {"rows": [asdict(one) for one in found], "seconds": options.seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main())
