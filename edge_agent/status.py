"""The agent's state in a small JSON file beside its outbox, and the table that `edge-agent status` makes of it.

The daemon replaces the file as a whole, so that a reader never sees half of it. Whether the daemon runs, the
outbox's lock says, not the file.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from codec.schema import NS

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def status_path(outbox_path: str) -> Path:
    return Path(outbox_path + ".status.json")


def write_status(outbox_path: str, state: dict[str, Any]) -> None:
    """Atomically; what the disk does not take is not worth a word here, the outbox says it."""
    path = status_path(outbox_path)
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(state, indent=1))
        os.replace(fresh, path)  # noqa: PTH105  # Path.replace is the same, and this says that it is atomic
    except OSError:
        fresh.unlink(missing_ok=True)


def read_status(outbox_path: str) -> dict[str, Any] | None:
    """As last written; None where there is nothing to read."""
    try:
        state = json.loads(status_path(outbox_path).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def is_running(outbox_path: str) -> bool:
    """Whether a process holds the outbox's lock."""
    try:
        descriptor = os.open(outbox_path + ".lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def render_status(state: dict[str, Any] | None, *, running: bool, outbox_path: str, now_ns: int) -> str:
    """The table, or what can be said without one."""
    if state is None:
        return (
            f"agent            {'running, and has not said how it is yet' if running else 'not running'}\n"
            f"outbox           {outbox_path}: {'' if Path(outbox_path).exists() else 'not made yet; '}"
            "`edge-agent run --config F` starts the agent"
        )
    link, outbox, records = state["link"], state["outbox"], state["records"]
    written_ago = _duration((now_ns - state["written_ns"]) / NS)
    since = _duration((now_ns - link["since_ns"]) / NS)
    acked = (
        f"{_duration((now_ns - link['acked_at_ns']) / NS)} ago" if link["acked_at_ns"] else "none in this run"
    )
    depth = f"{outbox['batches']} {'block' if outbox['batches'] == 1 else 'blocks'} not acknowledged"
    if outbox["batches"]:
        depth += f", oldest {_duration(outbox['oldest_s'])} old"
    rows = [
        (
            "agent",
            f"running, process {state['pid']}"
            if running
            else f"NOT RUNNING; this is how it was {written_ago} ago",
        ),
        ("vehicle", f"{state['vehicle']} {state['model']}".strip()),
        (
            "collector",
            f"{state['collector']}: {link['state']} for {since}" if running else state["collector"],
        ),
        *([("", link["trouble"])] if link["trouble"] else []),
        ("last ack", acked),
        ("data", _spent(link)),
        (
            "outbox",
            f"{depth}; {_size(outbox['bytes'])} of {_size(outbox['quota_bytes'])} in {outbox['path']}",
        ),
        *([("", f"TROUBLE: {outbox['trouble']}")] if outbox["trouble"] else []),
        *([("", _set_aside(outbox))] if outbox["set_aside"] else []),
        (
            "records",
            f"{records['count']:,} in this run, each of {records['signals']} signals, {records['rate_hz']} a second",
        ),
        ("compression", _compression(records)),
    ]
    for bus in state["buses"]:
        rows += [("bus", _bus(bus)), *(("", line) for line in _bus_troubles(bus))]
    if odd := _stamps(state.get("stamps", {})):
        rows.append(("stamps", odd))
    rows.append(("process", f"{state['cpu_percent']:.1f} % of a core, {_size(state['rss_bytes'])} of memory"))
    return "\n".join(f"{name:<17}{text}" for name, text in rows)


def _set_aside(outbox: dict[str, Any]) -> str:
    count = outbox["set_aside"]
    files = "1 damaged file is" if count == 1 else f"{count} damaged files are"
    return f"{files} set aside: {outbox['path']}.damaged-*; what was not sent of it is in there alone"


def _spent(link: dict[str, Any]) -> str:
    budget = link["month_bytes_max"]
    text = f"{_size(link['month_bytes'])}{f' of {_size(budget)}' if budget else ''} in {link['month'] or 'this month'}"
    if budget and link["month_bytes"] >= budget:
        return f"{text}: USED UP; blocks wait in the outbox for the next month, heartbeats go on"
    return text if link["stretch"] == 1 else f"{text}: blocks are {link['stretch']} times as long, to make do"


def _compression(records: dict[str, Any]) -> str:
    if not records["encoded"]:
        return "no block yet"
    each = records["bytes"] / records["encoded"]
    plain = 9 * records["signals"]  # a protobuf double each
    return f"{each:.2f} bytes a record; {plain} as protobuf doubles: {1 - each / plain:.2%} less"


def _stamps(stamps: dict[str, int]) -> str:
    """What was odd about the stamps of frames; empty: nothing. An agent of a release before says nothing of them."""
    parts = (
        ("late", "frames came late, and count at the next tick"),
        ("steps_back", "times their clock was set back"),
        ("disbelieved", "frames were stamped a day ahead, and not believed"),
    )
    return ", ".join(f"{stamps[key]:,} {words}" for key, words in parts if stamps.get(key))


def _bus(bus: dict[str, Any]) -> str:
    text = f"{bus['name']}: {bus['state'].replace('_', ' ')}, {bus['frames']:,} frames"
    for name, words in (("frames_unknown", "unknown"), ("error_frames", "error frames")):
        text += f", {bus[name]:,} {words}" if bus[name] else ""
    for name, words in (("times_down", "down"), ("times_bus_off", "bus off")):
        text += f", {bus[name]:,} times {words}" if bus[name] else ""
    return text


def _bus_troubles(bus: dict[str, Any]) -> list[str]:
    troubles = [bus["trouble"]] if bus["trouble"] else []
    if bus["frames_overrun"]:
        troubles.append(f"{bus['frames_overrun']:,} frames lost: this machine was too slow to read them")
    if bus["frames_dropped"]:
        troubles.append(
            f"{bus['frames_dropped']:,} frames dropped: capture, or the outbox's disk, was too slow"
        )
    return troubles


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _duration(seconds: float) -> str:
    seconds = max(0, int(seconds))
    if seconds < 2 * MINUTE_S:
        return f"{seconds} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds // MINUTE_S} min"
    return f"{seconds // HOUR_S} h" if seconds < 2 * DAY_S else f"{seconds // DAY_S} days"
