from __future__ import annotations

import subprocess
import sys

import pytest

from demo.__main__ import main


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dbc", "FILE"], "--dbc needs the log of a drive"),
        (["--log", "FOLDER", "--dbc", "FILE"], "a folder; name a file"),
        (["--scenario", "dyno", "--log", "FILE", "--dbc", "FILE"], "--log is not for --scenario dyno"),
    ],
)
def test_what_would_be_another_demo_than_asked_for_is_refused(tmp_path, capsys, arguments, says):
    file = tmp_path / "car.dbc"
    file.touch()
    named = {"FILE": str(file), "FOLDER": str(tmp_path)}
    folder = tmp_path / "demo-run"
    assert main(["--folder", str(folder), *(named.get(word, word) for word in arguments)]) == 2
    assert says in capsys.readouterr().out.replace("\n", " ")
    assert not folder.exists()
