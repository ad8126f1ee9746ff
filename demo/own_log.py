"""Somebody's own drive: a log and DBCs in, what the demo needs to play it out, and a line for all that was left out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from decoder.defaults import default_choices
from decoder.frames import EXTENDED, Frames
from decoder.sampler import Sampler
from demo.own_rules import rules_from
from demo.settings import Drive, agent_toml
from edge_agent.choices import load_buses, make_plan
from edge_agent.config import BusConfig
from edge_agent.config_file import parse_config
from edge_agent.errors import ConfigError
from replay_logs.read import LogError, open_log
from replay_logs.recording import Recording, load_recording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from codec.records import Records
    from decoder.plan import Plan
    from decoder.signals import Bus

FRAMES_PER_S_MAX = 10_000  # of wall time: what one agent reads on a slow core beside everything else
WALL_S_MIN, WALL_S_MAX = 24.0, 50.0  # shorter, and the cuts get shorter than a restart takes
SPEED_WANTED = 5.0
SILENCE_S_MAX = 60.0  # longer ones are played as that long (see replay_logs.bus)
BUS = "can0"
SIGNALS_MAX = (
    1_000  # the most telling ones by init's order: both sides' records at full rate have to fit into memory
)
BUDGET_MB = 1_000_000  # no budget: what the log does not have is left out instead
_NS = 1e9


class OwnLogError(ValueError):
    """A log or DBC that no demo can be made of; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class OwnDrive:
    """What is played, for how long, which rules watch it, and what is to be said about it."""

    drive: Drive
    wall_s: float
    rules: Path
    notes: tuple[str, ...]


def prepare(log: Path, dbcs: Sequence[Path], folder: Path, *, wall_s: float | None = None) -> OwnDrive:
    """Reads the log once, writes rules and settings into `folder`. Raises OwnLogError."""
    if not dbcs:
        raise OwnLogError("--log needs the DBC of the vehicle: add --dbc FILE")
    try:
        recording = load_recording(open_log(log))
        buses, warnings = load_buses([BusConfig("replay", str(log), tuple(map(str, dbcs)), BUS)])
    except (LogError, ConfigError) as error:
        raise OwnLogError(str(error)) from None
    if not len(recording.frames):
        empty = f"{recording.error_frames} error and {recording.remote_frames} remote frames"
        raise OwnLogError(f"{log}: has no data frames, only {empty}")
    signals = _signals(dbcs, buses, recording.frames, folder)
    drive = Drive(
        vin=f"asset:{_asset_name(log)}",
        model=log.name.partition(".")[0][:32],
        firmware_version="",
        log=log.resolve(),
        dbcs=tuple(dbc.resolve() for dbc in dbcs),
        speed=1.0,
        title=f"{_played_s(recording.frames):,.0f} s",
        signals=signals,
        bus_name=BUS,
    )
    plan = _plan(drive, folder)
    known, channel, more = _known_frames(recording, plan)
    if not len(known):
        raise OwnLogError(
            f"{log}: none of its {len(recording.frames):,} frames is in the DBC; is it of this vehicle?"
        )
    runs = _records(plan, known)
    text = rules_from(plan.schema, runs)
    rules = folder / "rules.toml"
    rules.write_text(text or "# No signal of this drive is lively enough for a rule.\n")
    notes = [
        *_in_short(recording.left_out),
        *_in_short(warnings),
        *more,
        (
            f"{len(known) / len(recording.frames):.1%} of {len(recording.frames):,} frames carry the {len(signals)} signals "
            "that are sampled: what edge-agent init proposes and the log has"
        ),
        "rules drawn from the drive: "
        + ("; ".join(re.findall('when = "(.*)"', text)) or "none, nothing moves enough"),
    ]
    wall_s = wall_s or _wall_s(recording.frames, len(known))
    drive = replace(
        drive,
        speed=max(_played_s(recording.frames), 0.001) / wall_s,
        bus_options={} if channel is None else {"log_channel": channel},
    )
    return OwnDrive(drive, wall_s, rules, tuple(notes))


def _signals(dbcs: Sequence[Path], buses: Sequence[Bus], frames: Frames, folder: Path) -> dict[str, Any]:
    """Signals and thresholds as `edge-agent init` proposes them, as far as their messages occur in the log."""
    proposal = folder / "init.toml"
    command = [sys.executable, "-m", "edge_agent", "init", "-o", str(proposal), "--budget-mb", str(BUDGET_MB)]
    for dbc in dbcs:
        command += ["--dbc", str(dbc.resolve())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OwnLogError(f"edge-agent init: {done.stderr.strip() or done.stdout.strip()}")
    proposed = tomllib.loads(proposal.read_text()).get("signals", {})
    on_one_bus = replace(frames, buses=np.zeros_like(frames.buses))
    occurring = {choice.name for choice in default_choices(buses, on_one_bus)}
    signals = dict([entry for entry in proposed.items() if entry[0] in occurring][:SIGNALS_MAX])
    if not signals:
        raise OwnLogError(
            f"{', '.join(map(str, dbcs))}: describes no frame of this log; is it the DBC of this vehicle?"
        )
    return signals


def _plan(drive: Drive, folder: Path) -> Plan:
    text = agent_toml(drive, address="127.0.0.1:1", outbox=folder / "outbox.db", epoch=0.0)
    try:
        plan, _ = make_plan(parse_config(text, folder / "agent.toml", {}))
    except ConfigError as error:
        raise OwnLogError(str(error)) from None
    return plan


def _known_frames(recording: Recording, plan: Plan) -> tuple[Frames, str | None, list[str]]:
    """Frames of the plan's messages, all on bus 0; the one channel to play, if not all can be; what is to be said.

    Two channels are played as one bus, unless the same ID means something on both: then the busier one is played.
    """
    wanted = np.zeros(len(recording.frames), np.bool_)
    ids = recording.frames.ids & ~np.uint32(EXTENDED)
    extended = recording.frames.ids >= EXTENDED
    for identifier, mask, long in plan.wanted_ids(0):
        wanted |= (ids & np.uint32(mask) == np.uint32(identifier & mask)) & (extended == long)
    known = recording.frames.take(wanted)
    pairs = {(int(bus), int(key)) for bus, key in zip(known.buses, known.ids, strict=True)}
    clashing = [key for key, count in Counter(key for _, key in pairs).items() if count > 1]
    channel = None
    notes = []
    if clashing:
        busiest = int(np.bincount(known.buses).argmax())
        known = known.take(known.buses == busiest)
        channel = recording.channels[busiest]
        others = ", ".join(name for name in recording.channels if name != channel)
        notes.append(
            f"channel {channel} is played, {others} left out: {len(clashing)} IDs are on more than one"
        )
    return (
        Frames(known.timestamps_ns, np.zeros_like(known.buses), known.ids, known.lengths, known.data),
        channel,
        notes,
    )


def _played_s(frames: Frames) -> float:
    """How long the log plays at speed 1: backward stamps are due at once, long silences cut."""
    newest = np.maximum.accumulate(frames.timestamps_ns)
    return float(np.minimum(np.diff(newest) / _NS, SILENCE_S_MAX).sum())


def _wall_s(frames: Frames, known: int) -> float:
    """A few times faster than driven, and no more frames a second than an agent can read."""
    comfortable = min(max(_played_s(frames) / SPEED_WANTED, WALL_S_MIN), WALL_S_MAX)
    return max(comfortable, known / FRAMES_PER_S_MAX)


def _records(plan: Plan, frames: Frames) -> list[tuple[int, Records]]:
    """The whole drive as one stream."""
    sampler = Sampler(plan)
    sampler.feed(frames)
    return [(0, run) for run in sampler.advance(None)]


def _in_short(warnings: Sequence[str], at_most: int = 4) -> list[str]:
    shown = list(warnings[:at_most])
    if len(warnings) > at_most:
        shown.append(f"... and {len(warnings) - at_most} more like these; `edge-agent check` lists them all")
    return shown


def _asset_name(log: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", log.name.partition(".")[0]).strip("-._")[:64] or "drive"
