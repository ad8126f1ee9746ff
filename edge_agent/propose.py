"""`edge-agent init`: a configuration for somebody's own DBCs, with a reason beside every number."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import TYPE_CHECKING

from codec.schema import SIGNALS_MAX
from decoder.defaults import default_choices
from decoder.signals import bus_messages, bus_signals
from edge_agent.choices import COUNTERS, load_buses
from edge_agent.config import REQUIRED, SECTIONS, BusConfig
from edge_agent.errors import ConfigError
from edge_agent.estimate import ENVELOPE_BYTES, HEARTBEAT_BYTES
from edge_agent.recorded import recorded_frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cantools.database.can.signal import Signal as DbcSignal

    from decoder.plan import SignalChoice
    from decoder.signals import Bus

HOURS = 60.0  # of driving a month
# Bytes an hour that a signal costs, about; `edge-agent estimate` finds out with a log of the vehicle.
# Source: 20 signals of the reference drives at 50 Hz and 10 s blocks, lossless and at about 1 % of range.
TRACKED_BYTES, STATE_BYTES, EXACT_BYTES = 1_300, 300, 40_000
STATES = 2  # priority of enumerations and switches
BLOCKS_AN_HOUR = 360


def propose(
    dbcs: Sequence[Path],
    *,
    folder: Path,
    vehicle: str,
    interface: str,
    channel: str,
    budget_bytes: float,
    log: str | None = None,
) -> tuple[str, str]:
    """(TOML for a configuration in `folder`, one line about it).

    With `log`, a recording of that vehicle, only signals of messages that occur in it are chosen. Raises ConfigError, and
    AgentError for a log that cannot be read.
    """
    relative = tuple(os.path.relpath(path.resolve(), folder) for path in dbcs)
    bus = BusConfig(interface=interface, channel=channel, name=channel, dbc=tuple(str(path) for path in dbcs))
    buses, warnings = load_buses([bus])
    choices = sorted(default_choices(buses), key=lambda choice: choice.priority)
    if not choices:
        raise ConfigError(f"{', '.join(map(str, dbcs))}: no signal in it can be sampled")
    occurring = choices if log is None else _occurring(choices, buses, log)
    chosen = within_budget(occurring, budget_bytes)
    lines = [
        f"# Configuration of an edge agent for {', '.join(path.name for path in dbcs)}.",
        "# edge-agent check --config THIS says whether it is right; edge-agent check --settings lists every setting.",
        *(f"# DBC: {warning}" for warning in warnings),
        "",
        "[vehicle]",
        f"id = {_text(vehicle)}  # {_meaning('vehicle', 'id')}",
        '# model = ""',
        '# firmware_version = ""',
        "",
        "[[bus]]",
        f"interface = {_text(interface)}  # python-can interface",
        f"channel = {_text(channel)}",
        f"dbc = [{', '.join(map(_text, relative))}]  # from the folder of this file",
        "",
    ]
    for section in SECTIONS:
        if section not in ("vehicle", "demo"):
            lines += [*_defaults(section), ""]
    lines += [
        "[signals]",
        "# name = largest error, in the signal's unit (0: exact), or a table with threshold, resolution, circular,",
        "# timeout_s, reject_outside. Without this section all signals but counters and checksums are sampled.",
    ]
    if len(chosen) < len(occurring):
        lines += [
            f"# {len(occurring) - len(chosen)} of {len(occurring)} signals are commented out: counters and checksums, and what goes beyond",
            f"# about {budget_bytes / 1e6:g} MB a month at {HOURS:g} h of driving. Swap as you like.",
        ]
    described = _described(buses)
    silent = [choice for choice in choices if choice not in occurring] if log else []
    for choice in [*occurring, *silent]:
        if silent and choice is silent[0]:
            lines += ["#", f"# {len(silent)} signals of messages that are not in {_one_line(log or '')}:"]
        found = described[choice.bus, choice.message, choice.signal]
        lines += _signal(choice, found, active=choice.name in chosen)
    of = f"{len(occurring)} signals" if log is None else f"the {len(occurring)} signals that occur in {log}"
    about = f"{_monthly_bytes(choices, chosen) / 1e6:.1f} MB a month by a rough price for each signal"
    summary = f"{len(chosen)} of {of}, about {about}"
    return "\n".join(lines) + "\n", summary


def _occurring(choices: Sequence[SignalChoice], buses: Sequence[Bus], log: str) -> list[SignalChoice]:
    """Those of messages that a log has; the same order."""
    count = 0
    names: set[str] = set()
    for frames in recorded_frames(log):
        count += len(frames)
        names |= {choice.name for choice in default_choices(buses, frames)}
    if not names:
        raise ConfigError(f"{log}: none of its {count} frames is in the DBCs; are they of this vehicle?")
    return [choice for choice in choices if choice.name in names]


def within_budget(choices: Sequence[SignalChoice], budget_bytes: float) -> set[str]:
    """Names of the signals that fit, in order; the first always does, counters and checksums never."""
    room = budget_bytes / HOURS - _envelope_bytes()
    chosen: set[str] = set()
    for choice in choices:
        room -= cost_bytes(choice)
        if len(chosen) == SIGNALS_MAX:
            break
        if (room >= 0 and choice.priority < COUNTERS) or not chosen:
            chosen.add(choice.name)
        elif room < 0:
            break
    return chosen


def cost_bytes(choice: SignalChoice) -> int:
    """Bytes an hour."""
    if choice.priority >= STATES:
        return STATE_BYTES
    return TRACKED_BYTES if choice.threshold > 0 else EXACT_BYTES


def _monthly_bytes(choices: Sequence[SignalChoice], chosen: set[str]) -> float:
    signals = sum(cost_bytes(choice) for choice in choices if choice.name in chosen)
    return HOURS * (_envelope_bytes() + signals)


def _envelope_bytes() -> float:
    return BLOCKS_AN_HOUR * ENVELOPE_BYTES + 60 * HEARTBEAT_BYTES


def _defaults(section: str) -> list[str]:
    lines = [f"[{section}]"]
    for item in dataclasses.fields(SECTIONS[section]):
        assert item.metadata["default"] is not REQUIRED, item.name
        lines.append(f"# {item.name} = {json.dumps(item.metadata['default'])}  # {item.metadata['text']}")
    return lines


def _signal(choice: SignalChoice, found: DbcSignal, *, active: bool) -> list[str]:
    about = [f"{choice.message}.{choice.signal}", _one_line(found.unit or "no unit")]
    if found.minimum is not None and found.maximum is not None:
        about.append(f"{found.minimum:g} to {found.maximum:g}")
    if found.choices:
        words = [f"{value} {_one_line(str(word))}" for value, word in list(found.choices.items())[:6]]
        about.append(f"{', '.join(words)}{' ...' if len(found.choices) > len(words) else ''}")
    if choice.rationale:
        about.append(_one_line(choice.rationale))
    settings = {"threshold": choice.threshold, "resolution": choice.resolution, "circular": choice.circular}
    said = {name: value for name, value in settings.items() if value or name == "threshold"}
    value = (
        f"{said['threshold']:.10g}"
        if len(said) == 1
        else "{ " + ", ".join(f"{name} = {number:.10g}" for name, number in said.items()) + " }"
    )
    return [f"# {'; '.join(about)}", f"{'' if active else '# '}{_key(choice.name)} = {value}"]


def _described(buses: Sequence[Bus]) -> dict[tuple[int, str, str], DbcSignal]:
    """What the DBCs say of a signal, by bus, message and name."""
    messages, _ = bus_messages(buses)
    found: dict[tuple[int, str, str], DbcSignal] = {}
    for entry in bus_signals(buses, messages):
        found.setdefault((entry.owner.bus, entry.owner.message.name, entry.signal.name), entry.signal)
    return found


def _meaning(section: str, key: str) -> str:
    return str(
        next(item.metadata["text"] for item in dataclasses.fields(SECTIONS[section]) if item.name == key)
    )


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\s]+", " ", text).strip()


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
