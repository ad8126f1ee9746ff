"""From what both sides kept to the verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.rules import Rules, evaluate_all
from demo.baselines import json_bytes, protobuf_bytes, stride
from demo.comparison import compare
from demo.side_log import read_side_log
from demo.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from collector.store import Store
    from demo.settings import Drive


# The columns of a stored fault that make FaultSpan.verdict: what compression must not change.
FAULT_NAME = ("code", "stream_no", "first_tick", "detected_tick", "last_stream_no", "last_tick")


@dataclass(frozen=True, slots=True)
class Case:
    """One vehicle's evidence beside the store."""

    drive: Drive
    outbox: Path
    kills: int
    bytes_wire: int
    agent_status: int | None


def judge(case: Case, store: Store, rules: Rules) -> Verdict:
    """Raises what reading raises: without both sides there is no verdict."""
    side = read_side_log(case.outbox)
    stored = [(run.facts.stream_no, run.records) for run in store.runs(case.drive.vin)]
    records = [run for _, run in side.committed]
    every = stride(side.committed_count, len(side.schema.signals))
    return Verdict(
        vin=case.drive.vin,
        model=case.drive.model,
        rate_hz=side.schema.rate_hz,
        kills=case.kills,
        records_sampled=side.sampled_count,
        lost_at_kill=side.lost_at_kill,
        comparison=compare(side.schema, side.committed, stored),
        bytes_wire=case.bytes_wire,
        agent_status=case.agent_status,
        bytes_protobuf=protobuf_bytes(side.schema, records, every),
        bytes_json=json_bytes(side.schema, records, every),
        expected=tuple(span.verdict for span in evaluate_all(rules, side.schema, side.committed)),
        found=tuple(tuple(fault[key] for key in FAULT_NAME) for fault in store.faults(case.drive.vin)),
    )
