"""Frames to records: DBCs, tables, kernels, sampler. Shared by the agent, replay_logs and `collector import`.

dbc.load(path) -> Dbc                         DBC files as they are, repaired, with warnings
Bus(name, dbcs)                               a bus and its DBCs, in order of precedence
BulkDecoder(buses).decode_values(frames)      every value as it came
default_choices(buses) -> SignalChoice...     every usable signal, with a sensible threshold and why
build_plan(buses, choices, rate_hz) -> Plan   the schema, and the tables for a sampler
Sampler(plan).feed(frames) .advance(until)    records on a grid of ticks; sample_log(sampler, frames) of a whole log
"""

from decoder.dbc import Dbc, DbcError, load, parse
from decoder.defaults import default_choices, most_wanted
from decoder.frames import EXTENDED, Frames
from decoder.plan import Plan, PlanError, SignalChoice, build_plan
from decoder.sampler import PARK_AFTER_S, Sampler
from decoder.signals import NOT_AVAILABLE_WORDS, Bus
from decoder.values import BulkDecoder, Values

__all__ = [
    "EXTENDED",
    "NOT_AVAILABLE_WORDS",
    "PARK_AFTER_S",
    "BulkDecoder",
    "Bus",
    "Dbc",
    "DbcError",
    "Frames",
    "Plan",
    "PlanError",
    "Sampler",
    "SignalChoice",
    "Values",
    "build_plan",
    "default_choices",
    "load",
    "most_wanted",
    "parse",
]
