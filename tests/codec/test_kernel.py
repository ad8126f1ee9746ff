"""Where kernels come from: numba and its cache, or a library. A change in any source is a change of every kernel."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

from codec.library import library_path
from tests.compiled import ROOT, WITHOUT_NUMBA

CALLEE = "from codec.kernel import kernel\n\n@kernel\ndef inner(x):\n    return x + {}\n"
CALLER = "from codec.kernel import kernel\nfrom room.callee import inner\n\n@kernel\ndef outer(x):\n    return inner(x)\n"


def test_a_changed_callee_recompiles_its_callers(tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "caller.py").write_text(CALLER)
    found = []
    for number in (1, 2):
        (room / "callee.py").write_text(CALLEE.format(number))
        command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from room.caller import outer; print(outer(40))"
        run = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
        found.append(int(run.stdout))
    assert found == [41, 42]


THERE_AND_BACK = """
import numpy as np, codec
from codec.kernel import origin
from codec.records import Records
from codec.schema import Kind, Schema, Signal
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
print(origin(codec))
schema = Schema(50, (Signal("a", threshold=1.0), Signal("b", circular=360.0), Signal("c", kind=Kind.FLOAT32, threshold=0.5)))
counts = np.random.default_rng(1).integers(0, 300, (100, 3))
encoder, decoder = (kind(schema, StreamFacts(bytes(16), 0, 0)) for kind in (StreamEncoder, StreamDecoder))
block = encoder.encode(Records(0, counts, np.zeros((100, 3), np.uint8)))
print(block.content.hex(), decoder.decode(block.seq, block.content).records.counts.sum())
print("numba" in sys.modules and sys.modules["numba"] is not None)
"""


def said(folder, command):
    """(status, lines, complaints) of a Python that finds packages in a folder before all others."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    ran = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    return ran.returncode, ran.stdout.splitlines(), ran.stderr.splitlines()


def test_with_a_library_that_fits_numba_is_not_needed(compiled, tmp_path):
    compiled.install(tmp_path, "codec")
    status, lines, complaints = said(tmp_path, WITHOUT_NUMBA + THERE_AND_BACK)
    assert (status, complaints) == (0, [])
    assert lines[0] == f"compiled ahead: {tmp_path}/codec/kernels.{platform.machine()}.so"
    # With numba there, it is not imported; without the library, it is, and the same comes of it.
    assert said(tmp_path, "import sys" + THERE_AND_BACK) == (0, [*lines[:2], "False"], [])
    bare = ROOT
    if library_path(
        ROOT / "codec"
    ).exists():  # `make kernels` was here: sources alone are compiled anew, for a minute
        bare = tmp_path / "bare"
        shutil.copytree(
            ROOT / "codec", bare / "codec", ignore=shutil.ignore_patterns("__pycache__", "kernels.*.so")
        )
    by_numba = said(bare, "import sys" + THERE_AND_BACK)
    assert by_numba == (0, [by_numba[1][0], lines[1], "True"], [])


def test_without_a_library_and_without_numba_it_says_what_to_do(compiled, tmp_path):
    compiled.install(tmp_path, "codec")
    with (tmp_path / "codec" / "errors.py").open("a") as source:
        source.write("# changed")
    status, _, complaints = said(tmp_path, WITHOUT_NUMBA + THERE_AND_BACK)
    assert status == 1
    assert complaints[-1] == (
        f"codec.errors.NoKernels: {tmp_path}/codec/kernels.{platform.machine()}.so was compiled from other sources; python -m codec "
        "compile codec makes it anew. Where numba is installed, none of this is needed: pip install numba"
    )
    listed = said(tmp_path, "from codec.__main__ import main; main(['origin'])")[1]
    assert listed == [f"codec: numba: {complaints[-1].split(': ')[1].split('. ')[0]}"]
