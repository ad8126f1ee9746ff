"""From configuration and DBCs to the plan of what is sampled."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from codec.errors import SchemaError
from codec.schema import SIGNALS_MAX
from decoder.dbc import DbcError, load
from decoder.defaults import default_choices
from decoder.plan import Bus, PlanError, build_plan
from decoder.signals import NOT_AVAILABLE_WORDS
from edge_agent.errors import ConfigError
from edge_agent.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoder.plan import Plan, SignalChoice
    from edge_agent.config import BusConfig, Config, SignalConfig

COUNTERS = 3  # priority of counters and checksums: sampled by name only


def load_buses(configured: Sequence[BusConfig]) -> tuple[list[Bus], list[str]]:
    """The buses with their DBCs, and what was repaired or left out of these. Raises ConfigError."""
    mistakes: list[str] = []
    warnings: list[str] = []
    buses: list[Bus] = []
    for bus in configured:
        dbcs = []
        for path in bus.dbc:
            try:
                dbc = load(path)
            except DbcError as error:
                mistakes.append(f"[[bus]] {bus.name}: {error}")
                continue
            dbcs.append(dbc)
            warnings += dbc.warnings
        buses.append(Bus(bus.name, tuple(dbcs)))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return buses, warnings


def make_plan(config: Config) -> tuple[Plan, list[str]]:
    """The plan, and what there is to be said about the DBCs. Raises ConfigError with a line for every mistake."""
    buses, warnings = load_buses(config.buses)
    offered = default_choices(buses)
    if not offered:
        raise ConfigError(f"{config.path}: [[bus]] dbc: no signal in these DBCs can be sampled")
    try:
        plan = build_plan(
            buses,
            _chosen(config, offered),
            rate_hz=config.sampling.rate_hz,
            not_available_words=config.sampling.not_available or NOT_AVAILABLE_WORDS,
        )
    except (PlanError, SchemaError) as error:
        raise ConfigError(f"{config.path}: [signals]: {error}") from None
    return plan, [*warnings, *plan.warnings]


def _chosen(config: Config, offered: Sequence[SignalChoice]) -> list[SignalChoice]:
    if config.signals is None:
        chosen = [choice for choice in offered if choice.priority < COUNTERS] or list(offered)
        if len(chosen) > SIGNALS_MAX:
            raise ConfigError(
                f"{config.path}: the DBCs have {len(chosen)} signals, and {SIGNALS_MAX} can be sampled: choose some in "
                "[signals]; `edge-agent init` writes it"
            )
        return chosen
    by_name = {choice.name: choice for choice in offered}
    unknown = [
        f"{config.path}: signals.{name}: the DBCs have no such signal{nearest(name, by_name)}"
        for name in config.signals
        if name not in by_name
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))
    return [_overridden(by_name[name], settings) for name, settings in config.signals.items()]


def _overridden(choice: SignalChoice, settings: SignalConfig) -> SignalChoice:
    """The offered choice with what the configuration says about it."""
    said = {
        item.name: value
        for item in dataclasses.fields(settings)
        if (value := getattr(settings, item.name)) is not None
    }
    if "threshold" in said:
        said.setdefault("resolution", 0.0)  # the offered one belongs to the offered threshold
    return dataclasses.replace(choice, **said)
