from __future__ import annotations

import subprocess
import sys


def test_a_log_that_is_not_there_costs_the_last_demo_nothing(tmp_path):
    folder = tmp_path / "demo-run"
    folder.mkdir()
    kept = [folder / "deadreckon-demo", folder / "collector.db"]
    for file in kept:
        file.touch()
    command = [
        sys.executable,
        "-m",
        "demo",
        "--folder",
        str(folder),
        "--log",
        str(tmp_path / "no.log"),
        "--dbc",
        "no.dbc",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{tmp_path / 'no.log'}: there is no such file" in (done.stdout + done.stderr).replace("\n", "")
    assert all(file.exists() for file in kept)
