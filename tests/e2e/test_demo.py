"""The demo as somebody runs it on a drive of their own, shortened: real processes, real cuts, real SIGKILLs."""

from __future__ import annotations

import gzip
import itertools
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import psutil
import pytest

from demo.__main__ import QUERIES
from demo.vehicles import fleet

SECONDS = 12  # of wall time, for 100 s of driving
FRAMES = 42_000


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(folder, completed process, report) of one run."""
    folder = tmp_path_factory.mktemp("demo")
    city = fleet(60)[0]
    with gzip.open(city.log, "rt") as log:
        (folder / "drive.log").write_text("".join(itertools.islice(log, FRAMES)))
    command = [sys.executable, "-m", "demo", "--log", str(folder / "drive.log"), "--dbc", str(city.dbcs[0])]
    command += [
        "--folder",
        str(folder / "run"),
        "--json",
        str(folder / "figures.json"),
        "--seconds",
        str(SECONDS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    report = json.loads((folder / "figures.json").read_text()) if (folder / "figures.json").exists() else {}
    return folder / "run", done, report


def test_everything_arrives_whole_through_cuts_and_kills(ran):
    _, done, report = ran
    assert done.returncode == 0, done.stdout + done.stderr
    assert report["ok"]
    (vehicle,) = report["vehicles"]
    assert vehicle["missing"] == vehicle["duplicated"] == 0
    assert vehicle["records_stored"] > 500  # an agent that starts slowly rejoins its drive further on
    assert vehicle["records_sampled"] == vehicle["records_stored"] + vehicle["lost_at_kill"]
    assert vehicle["lost_at_kill"] <= 50
    assert vehicle["max_error_over_threshold"] <= 1.0
    assert vehicle["faults_found"] == vehicle["faults_expected"] > 0


def test_the_output_tells_the_story(ran):
    _, done, _ = ran
    for text in ("dead zone 1", "dead zone 3", "SIGKILL to the agent", "SIGKILL to the collector", "whole"):
        assert text in done.stdout


def test_the_queries_it_prints_run(ran):
    folder, done, _ = ran
    with closing(sqlite3.connect(folder / "collector.db")) as store:
        answers = [store.execute(query).fetchall() for query in QUERIES]
    assert all(query in done.stdout for query in QUERIES)
    assert answers[0]
    assert len(answers[1]) == 10
    assert [row[0] for row in answers[2]] == ["asset:drive"]


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_ends_it_leaves_no_process_behind(tmp_path, signum, status):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "demo", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("the collector listens" in line for line in demo.stdout)
        demo.send_signal(signum)
        demo.stdout.read()
        assert demo.wait(60) == status
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ())
    ]
    assert left == []


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    command = [sys.executable, "-m", "demo", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "not the demo's" in done.stdout
    assert (tmp_path / "thesis.txt").exists()
