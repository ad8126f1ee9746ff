"""The same bits on aarch64: the vectors under qemu. `make aarch64` runs it; it takes minutes, so the quick run does not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.vectors.vector import names

RUN = Path(__file__).resolve().parent / "run"
FOLDER = os.environ.get("DEADRECKON_AARCH64", "")


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FOLDER, reason="DEADRECKON_AARCH64 names no folder to build in: make aarch64 does")
def test_aarch64_writes_and_reads_the_vectors_to_the_bit():
    ran = subprocess.run([RUN, FOLDER], capture_output=True, text=True, check=False)
    if ran.returncode == 77:
        pytest.skip(ran.stderr.strip().splitlines()[-1])
    said = [
        f"aarch64, kernels compiled {how}: {len(names())} vectors, 0 differences\n"
        for how in ("by numba", "ahead")
    ]
    assert (ran.stdout, ran.returncode) == ("".join(said), 0), ran.stderr


def test_without_an_emulator_it_says_what_to_install(tmp_path):
    # A PATH of what the script needs before it looks for the emulator, so that it finds none.
    for tool in ("bash", "dirname", "mkdir"):
        (tmp_path / tool).symlink_to(Path("/usr/bin") / tool)
    ran = subprocess.run(
        ["/usr/bin/env", "-i", f"PATH={tmp_path}", "bash", RUN, tmp_path / "work"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (
        77, "aarch64: qemu-aarch64-static is not here: apt install qemu-user-static mmdebstrap\n",
    )  # fmt: skip
