"""What the test stand writes: tables, logs, a model, rules, and settings of collector and agents; and what its findings come to.

Verdicts: a unit is `testing` while its agent runs, `hold` if a fault or anomaly of it is stored, else `pass`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detectors import training
from collector.detectors.forest import Header
from demo.settings import ACK_WITHIN_S, KEEP_ALL, toml
from demo.stand_units import SENSORS, SHORT, Fate
from replay_logs.candump import write_lines
from replay_logs.convert import convert, dbc_text, log_lines
from replay_logs.mapping import parse_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from collector.detectors.forest import Forest
    from demo.stand_units import StandUnit

START = "2026-11-23T06:00:00Z"
SMOOTH_S = 10
MODEL = "stand"
WEAR_SEEN = (
    125  # cycles before failure; a flag before that is of no wear that anybody has seen in this data set
)
BLOCK_S = 5.0  # of record time: how long a flag waits for its block
RULES = """
[[rule]]
code = "EXHAUST_HOT"
when = "LptOutletTemp > 1430"
for_s = 3
severity = "CRITICAL"
description = "Turbine outlet hotter than 1430 degR for 3 s"
action = "End the test; inspect the hot section."

[[rule]]
code = "COMPRESSOR_HOT"
when = "HpcOutletTemp > 1608"
for_s = 3
severity = "WARNING"
description = "Compressor outlet hotter than 1608 degR for 3 s"
action = "Check blade clearances before the next run."
"""


@dataclass(frozen=True, slots=True)
class UnitResult:
    """One unit, as its stored rows judge it. Cycles count from 1; None: never."""

    unit: StandUnit
    verdict: str  # pass, hold, testing
    flagged_cycle: int | None
    why: str  # detector and signal, or the fault's code
    confidence: float | None

    @property
    def lead(self) -> int | None:
        """Cycles from the flag to the failure."""
        known = self.unit.fate is Fate.FAILS and self.flagged_cycle is not None
        return len(self.unit.values) - (self.flagged_cycle or 0) if known else None


def write_logs(units: Sequence[StandUnit], folder: Path) -> Path:
    """A table and a log for each unit, by `replay-logs convert`; one DBC for all. Where that is."""
    every = np.concatenate([unit.values for unit in units])
    columns = ",".join(one.name for one in SENSORS)
    mapping = parse_mapping(
        {
            "table": {"rate_hz": 1.0, "start": START},
            "signals": {
                one.name: {
                    "unit": one.unit,
                    "resolution": one.resolution,
                    "range": [float(low), float(high)],
                    "message": "Stand",
                }
                for one, low, high in zip(SENSORS, every.min(axis=0), every.max(axis=0), strict=True)
            },
        }
    )
    dbc = folder / "stand.dbc"
    for unit in units:
        table = folder / f"{unit.name}.csv"
        np.savetxt(table, unit.values, fmt="%.4f", delimiter=",", header=columns, comments="")
        converted = convert(table, mapping)
        write_lines(folder / f"{unit.name}.log", log_lines(converted))
        dbc.write_text(dbc_text(converted))
    return dbc


def learn(units: Sequence[StandUnit], now: str) -> Forest:
    """What is usual, from the reference units alone; of sensors that move."""
    references = [unit for unit in units if unit.fate is Fate.REFERENCE]
    moving = [at for at in range(len(SENSORS)) if any(np.ptp(unit.values[:, at]) > 0 for unit in references)]
    header = Header(
        MODEL, 1, "", now, tuple(unit.vehicle for unit in references), 1, 1.0, SMOOTH_S,
        training.features([(SENSORS[at].name, SENSORS[at].unit) for at in moving]),
    )  # fmt: skip
    kernel = np.full(SMOOTH_S, 1 / SMOOTH_S)
    # As the collector means them: over the last cycles up to each.
    means = [
        np.column_stack([np.convolve(unit.values[:SHORT, at], kernel, "valid") for at in moving])
        for unit in references
    ]
    cuts = [len(part) * 2 // 3 for part in means]
    older = np.concatenate([part[:cut] for part, cut in zip(means, cuts, strict=True)])
    newer = np.concatenate([part[cut:] for part, cut in zip(means, cuts, strict=True)])
    return training.fit(header, older, newer)


def collector_settings(store: Path, rules: Path, model: Path) -> str:
    return (
        toml({"": {"listen": "127.0.0.1:0", "store": str(store), "rules": str(rules), "ack_within_s": ACK_WITHIN_S} | KEEP_ALL})
        .removeprefix('[""]\n')
        + toml({"detectors": {"zscore": False, "models": [str(model)]}})
    )  # fmt: skip


def agent_settings(unit: StandUnit, folder: Path, address: str, epoch: float, speed: float) -> str:
    log, dbc = folder / f"{unit.name}.log", folder / "stand.dbc"
    return toml(
        {
            "vehicle": {"id": unit.vehicle, "model": "turbofan", "firmware_version": "stand 1"},
            "collector": {"address": address},
            "outbox": {"path": str(folder / f"{unit.name}.db"), "loss_max_s": 60.0},
            "sampling": {"rate_hz": 1},
            "blocks": {"online_s": BLOCK_S, "watched_s": BLOCK_S},
            "uplink": {"heartbeat_s": 600.0, "retry_min_s": 0.2, "retry_max_s": 2.0, "drain_s": 30.0},
            "demo": {"side_log": True},
            "bus": [
                {
                    "name": "stand",
                    "interface": "replay",
                    "channel": str(log),
                    "dbc": [str(dbc)],
                    "options": {"speed": speed, "epoch": epoch},
                }
            ],
            "signals": {one.name: {"threshold": 0.0} for one in SENSORS},
        }
    )


def result(
    unit: StandUnit,
    *,
    ended: bool,
    anomalies: Sequence[Mapping[str, Any]],
    faults: Sequence[Mapping[str, Any]],
    first_tick: int | None,
) -> UnitResult:
    """Of one unit's rows. `first_tick`: of its first record; a cycle is a tick."""
    flags = [
        (row["first_tick"], f"{row['detector'].removeprefix('forest:')}: {row['signal']}", row["confidence"])
        for row in anomalies
    ]
    flags += [(row["detected_tick"], row["code"], None) for row in faults]
    verdict = "testing" if not ended else "hold" if flags else "pass"
    if not flags or first_tick is None:
        return UnitResult(unit, verdict, None, "", None)
    tick, why, confidence = min(flags, key=lambda flag: flag[0])
    return UnitResult(unit, verdict, tick - first_tick + 1, why, confidence)


def summary(results: Sequence[UnitResult]) -> dict[str, Any]:
    """The figures of the line; the reference units are left out of all but `units`."""
    judged = [one for one in results if one.unit.fate is not Fate.REFERENCE]
    failing = [one for one in judged if one.unit.fate is Fate.FAILS]
    leaving = [one for one in judged if one.unit.fate is Fate.LEAVES]
    leads = [one.lead for one in failing if one.lead is not None and one.lead <= WEAR_SEEN]
    ended = [one for one in judged if one.verdict != "testing"]
    return {
        "units": len(results),
        "passed": sum(one.verdict == "pass" for one in ended),
        "held": sum(one.verdict == "hold" for one in ended),
        "testing": len(judged) - len(ended),
        "yield": sum(one.verdict == "pass" for one in ended) / len(ended) if ended else None,
        "failing": len(failing),
        "failing_flagged_before": len(leads),
        "failing_flagged_too_early": sum(one.lead is not None and one.lead > WEAR_SEEN for one in failing),
        "lead_cycles_median": float(np.median(leads)) if leads else None,
        "lead_cycles_least": min(leads, default=None),
        "leaving_healthy": len(leaving),
        "healthy_held": sum(one.flagged_cycle is not None for one in leaving),
    }
