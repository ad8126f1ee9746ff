from __future__ import annotations

import os

from edge_agent.outbox_file import lock_outbox
from edge_agent.status import is_running, read_status, render_status, status_path, write_status

NS = 10**9
NOW = 2_000_000_000 * NS
BUS = {
    "name": "can0", "state": "up", "trouble": "", "frames": 12345, "frames_unknown": 0, "frames_overrun": 0,
    "frames_dropped": 0, "error_frames": 2, "times_down": 0, "times_bus_off": 0,
}  # fmt: skip
STATE = {
    "written_ns": NOW - 3 * NS, "pid": 7, "vehicle": "asset:a", "model": "Model 3", "collector": "c:1",
    "link": {"state": "online", "since_ns": NOW - 600 * NS, "trouble": "", "acked_at_ns": NOW - 9 * NS, "draining": False,
             "month": "2026-11", "month_bytes": 3_000_000, "month_bytes_max": 0, "stretch": 1},
    "outbox": {"path": "o.db", "bytes": 1_500_000, "quota_bytes": 268_000_000, "batches": 4, "oldest_s": 7300.0, "trouble": "",
               "set_aside": 0},
    "records": {"count": 1000, "signals": 20, "rate_hz": 50, "encoded": 1000, "bytes": 500},
    "buses": [BUS], "stamps": {"late": 0, "steps_back": 0, "disbelieved": 0},
    "cpu_percent": 1.25, "rss_bytes": 60_000_000,
}  # fmt: skip


def rendered(state, *, running: bool) -> str:
    return render_status(state, running=running, outbox_path="o.db", now_ns=NOW)


def test_the_table_says_what_an_operator_asks():
    text = rendered(STATE, running=True)
    for part in (
        "running, process 7",
        "asset:a Model 3",
        "c:1: online for 10 min",
        "9 s ago",
        "4 blocks not acknowledged, oldest 2 h old; 1.5 MB of 268 MB",
        "0.50 bytes a record; 180 as protobuf doubles: 99.72% less",
        "can0: up, 12,345 frames, 2 error frames",
    ):
        assert part in text, text


def test_an_agent_that_does_not_run_is_told_in_capitals():
    assert "NOT RUNNING; this is how it was 3 s ago" in rendered(STATE, running=False)
    assert "edge-agent run" in rendered(None, running=False)
    assert "has not said how it is yet" in rendered(None, running=True)


def test_trouble_is_shown():
    bus = {**BUS, "state": "bus_off", "frames_dropped": 5, "frames_overrun": 6, "frames_unknown": 7}
    bus |= {"times_down": 3, "times_bus_off": 1, "trouble": "check the wiring"}
    troubled = {
        **STATE,
        "outbox": {**STATE["outbox"], "trouble": "disk full", "set_aside": 2},
        "buses": [bus],
    }
    text = rendered(troubled, running=True)
    for part in (
        "TROUBLE: disk full",
        "2 damaged files are set aside: o.db.damaged-*",
        "can0: bus off, 12,345 frames, 7 unknown, 2 error frames, 3 times down, 1 times bus off\n",
        "check the wiring",
        "6 frames lost",
        "5 frames dropped",
    ):
        assert part in text, text


def test_what_the_month_has_cost_is_shown_and_what_that_means():
    def data(**link):
        return rendered({**STATE, "link": {**STATE["link"], **link}}, running=True)

    assert "3 MB in 2026-11\n" in data()
    assert "3 MB of 5 MB in 2026-11: blocks are 2 times as long" in data(month_bytes_max=5_000_000, stretch=2)
    assert "USED UP; blocks wait in the outbox" in data(month_bytes_max=3_000_000, stretch=8)


def test_the_file_is_replaced_as_a_whole(tmp_path):
    path = str(tmp_path / "outbox.db")
    assert read_status(path) is None
    write_status(path, STATE)
    write_status(path, {**STATE, "pid": 8})
    assert read_status(path) == {**STATE, "pid": 8}
    assert [file.name for file in tmp_path.iterdir()] == ["outbox.db.status.json"]
    status_path(path).write_text('{"half')
    assert read_status(path) is None
    write_status(str(tmp_path / "no" / "folder"), STATE)


def test_the_lock_says_whether_it_runs(tmp_path):
    path = str(tmp_path / "outbox.db")
    assert not is_running(path)
    descriptor = lock_outbox(path)
    assert is_running(path)
    os.close(descriptor)
    assert not is_running(path)


def test_odd_stamps_are_told_where_there_are_any():
    assert "stamps" not in rendered(STATE, running=True)
    odd = STATE | {"stamps": {"late": 1200, "steps_back": 1, "disbelieved": 0}}
    told = rendered(odd, running=True)
    assert "1,200 frames came late, and count at the next tick, 1 times their clock was set back" in told
