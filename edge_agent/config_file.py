"""Reading the configuration: TOML, then `.env`, then the environment, in one frozen value.

Rules
- Parsed before work begins. Every mistake is collected, and all are refused in one message.
- A mistake names its place (file and key, or variable), what is wrong and what to do; a key that does not exist
  comes with the nearest that does.
- Paths are relative to the file they stand in. A variable wins over `.env`, `.env` over the file.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from codec.identity import check_vehicle
from codec.schema import NS
from edge_agent.config import ENVIRONMENT_PREFIX, REQUIRED, SECTIONS, BusConfig, Config, SignalConfig, Vehicle
from edge_agent.errors import ConfigError
from edge_agent.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

INT64_MAX = (1 << 63) - 1
SHARED_SECTIONS = frozenset({"collector"})  # the collector's own settings may stand in the same .env


def load_config(path: str | Path, environment: Mapping[str, str]) -> Config:
    """Configuration of file `path` and of `environment` (see `read_environment`). Raises ConfigError."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; `edge-agent init --dbc F -o {file}` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    return parse_config(text, file, environment)


def read_environment(config_path: str | Path) -> dict[str, str]:
    """Our variables: `.env` beside the configuration, `.env` in the working folder, then the environment itself."""
    from dotenv import dotenv_values

    found: dict[str, str] = {}
    for folder in dict.fromkeys((Path(config_path).resolve().parent, Path.cwd())):
        values = dotenv_values(folder / ".env", interpolate=False)
        found |= {key: value for key, value in values.items() if value is not None}
    found |= os.environ
    return {key: value for key, value in found.items() if key.startswith(ENVIRONMENT_PREFIX)}


def parse_config(text: str, path: Path, environment: Mapping[str, str]) -> Config:
    """Pure part of `load_config`. Raises ConfigError with a line for every mistake."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # numbers of thousands of digits are no TOMLDecodeError
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: brackets within brackets without end") from None
    mistakes: list[str] = []
    sections_known = (*SECTIONS, "bus", "signals")
    mistakes += [
        f"{path}: [{key}]: no such section{nearest(key, sections_known)}"
        for key in document
        if key not in sections_known
    ]
    overrides = _overrides(environment, mistakes)
    sections = {
        name: _section(kind, document.get(name, {}), overrides.get(name, {}), f"{path}: {name}", mistakes)
        for name, kind in SECTIONS.items()
    }
    buses = _buses(document.get("bus"), overrides.get("bus", {}), path, mistakes)
    signals = _signals(document.get("signals"), path, mistakes)
    sections["vehicle"] = _checked_vehicle(sections["vehicle"], path, mistakes)
    rate_hz = sections["sampling"].rate_hz
    if isinstance(rate_hz, int) and rate_hz > 0 and NS % rate_hz:
        mistakes.append(
            f"{path}: sampling.rate_hz = {rate_hz}: a second is no whole number of nanoseconds times {rate_hz}; "
            "take 10, 20, 25, 50 or 100"
        )
    if sections["uplink"].retry_min_s > sections["uplink"].retry_max_s:
        mistakes.append(f"{path}: uplink.retry_min_s is larger than uplink.retry_max_s; make it smaller")
    address = sections["collector"].address
    if not re.fullmatch(r"\S+:\d{1,5}", address):
        mistakes.append(
            f"{path}: collector.address = {address!r}: host:port is wanted, such as 127.0.0.1:50051"
        )
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    folder = path.parent
    outbox = dataclasses.replace(sections["outbox"], path=str(folder / sections["outbox"].path))
    sections["outbox"] = outbox
    located = tuple(_located(bus, folder) for bus in buses)
    return Config(path=str(path), buses=located, signals=signals, **sections)


def _section(
    kind: type[Any], table: Any, overrides: Mapping[str, str], where: str, mistakes: list[str]
) -> Any:
    """One table as its dataclass. What is wrong goes to `mistakes`, and its default in its place."""
    if not isinstance(table, dict):
        mistakes.append(f"{where}: a table is wanted here, not {table!r}; write [{where.rsplit(' ', 1)[-1]}]")
        table = {}
    items = {item.name: item for item in dataclasses.fields(kind)}
    types = {name: str(item.type) for name, item in items.items()}
    values: dict[str, Any] = {}
    mistakes += [f"{where}.{key}: no such key{nearest(key, items)}" for key in table if key not in items]
    for name, item in items.items():
        place = f"{where}.{name}"
        if name in overrides:
            place = f"{ENVIRONMENT_PREFIX}{where.rsplit(' ', 1)[-1]}_{name}".upper()
            value, wrong = _from_text(overrides[name], types[name])
        elif name in table:
            value, wrong = _typed(table[name], types[name])
        elif item.metadata["default"] is REQUIRED:
            mistakes.append(f"{place}: missing: {item.metadata['text']}")
            values[name] = _placeholder(types[name])
            continue
        else:
            value, wrong = item.metadata["default"], ""
        wrong = wrong or _out_of_range(value, item.metadata)
        if wrong:
            mistakes.append(f"{place}: {wrong} ({item.metadata['text']})")
            value = (
                _placeholder(types[name])
                if item.metadata["default"] is REQUIRED
                else item.metadata["default"]
            )
        values[name] = value
    return kind(**values)


def _typed(value: Any, wanted: str) -> tuple[Any, str]:
    """(value, what is wrong with it) for a value as TOML gives it; `wanted` is a field's annotation."""
    if "tuple" in wanted:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(text, str) and "\0" not in text for text in texts):
            return tuple(texts), ""
        return (), f'{value!r}: a list of texts is wanted, such as ["car.dbc"]'
    if "Mapping" in wanted:
        if isinstance(value, dict):
            return MappingProxyType(value), ""
        return MappingProxyType({}), f"{value!r}: a table is wanted, such as {{ bitrate = 500000 }}"
    if "bool" in wanted:
        return (value, "") if isinstance(value, bool) else (False, f"{value!r}: true or false is wanted")
    if "float" in wanted or "int" in wanted:
        whole = "float" not in wanted
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            return 0, f"{value!r}: a {'whole ' if whole else ''}number is wanted"
        if isinstance(value, int) and abs(value) > INT64_MAX:
            return 0, "is too large a number"
        return value if whole else float(value), ""
    if wanted == "str" and isinstance(value, int) and not isinstance(value, bool):
        return str(value), ""  # channel = 0 is python-can's habit
    if not isinstance(value, str):
        return "", f"{value!r}: a text in quotes is wanted"
    return (value, "") if "\0" not in value else ("", f"{value!r}: no text has a character 0")


def _from_text(text: str, wanted: str) -> tuple[Any, str]:
    """The same for a variable's text."""
    if "tuple" in wanted:
        return _typed([part.strip() for part in text.split(",") if part.strip()], wanted)
    if wanted == "bool":
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        return _typed(words.get(text.strip().lower(), text), wanted)
    if wanted in ("int", "float"):
        try:
            return _typed(int(text) if wanted == "int" else float(text), wanted)
        except ValueError:
            return _typed(text, wanted)
    return _typed(text, wanted)


def _out_of_range(value: Any, metadata: Mapping[str, Any]) -> str:
    if value == () and metadata["default"] is REQUIRED:
        return '[]: a list of texts is wanted, such as ["car.dbc"]'
    if metadata["one_of"] and value not in metadata["one_of"]:
        return f"{value!r}: {' or '.join(metadata['one_of'])} is wanted"
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = metadata["low"], metadata["high"]
        if not low <= value <= high or not math.isfinite(value):
            return (
                f"{value!r}: must be {f'{low:g} to {high:g}' if math.isfinite(high) else f'at least {low:g}'}"
            )
    return ""


def _placeholder(wanted: str) -> Any:
    return () if "tuple" in wanted else ""


def _overrides(environment: Mapping[str, str], mistakes: list[str]) -> dict[str, dict[str, str]]:
    """{section: {key: text}} of our variables. Those of no section of ours are somebody else's."""
    found: dict[str, dict[str, str]] = {}
    for variable, text in environment.items():
        section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        if section == "signals" and key:
            mistakes.append(f"{variable} in the environment: signals are set in the configuration only")
        kind = BusConfig if section == "bus" else SECTIONS.get(section)
        if kind is None or not key:
            continue
        names = {item.name for item in dataclasses.fields(kind)} - {"options"}
        if key in names:
            found.setdefault(section, {})[key] = text
        elif section not in SHARED_SECTIONS:
            near = nearest(key, names, prefix=f"{ENVIRONMENT_PREFIX}{section}_".upper())
            mistakes.append(f"{variable} in the environment: no such setting{near}")
    return found


def _buses(tables: Any, overrides: Mapping[str, str], path: Path, mistakes: list[str]) -> list[BusConfig]:
    if isinstance(tables, dict):  # [bus] is a likely slip, and says as much as [[bus]]
        tables = [tables]
    if tables is None and overrides:
        tables = [{}]
    if not isinstance(tables, list) or not tables:
        mistakes.append(f"{path}: [[bus]]: at least one is wanted, with interface, channel and dbc")
        return []
    if overrides and len(tables) > 1:
        mistakes.append(
            f"{path}: [[bus]]: variables {ENVIRONMENT_PREFIX}BUS_* need a single bus; there are {len(tables)}"
        )
        overrides = {}
    label = f"{path}: bus" if len(tables) == 1 else f"{path}: bus[{{}}]"
    buses = [
        _section(BusConfig, table, overrides, label.format(i), mistakes) for i, table in enumerate(tables)
    ]
    buses = [dataclasses.replace(bus, name=bus.name or bus.channel) for bus in buses]
    names = [bus.name for bus in buses]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    mistakes += [f"{path}: [[bus]]: two are named {name!r}; give them different names" for name in twice]
    return buses


def _signals(table: Any, path: Path, mistakes: list[str]) -> Mapping[str, SignalConfig] | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        mistakes.append(f"{path}: signals: a table is wanted, not {table!r}; write [signals]")
        return None
    found: dict[str, SignalConfig] = {}
    for name, entry in table.items():
        where = f"{path}: signals.{name}"
        if isinstance(entry, bool) or not isinstance(entry, dict | int | float):
            mistakes.append(
                f"{where} = {entry!r}: a threshold is wanted, or a table such as {{ threshold = 0.5 }}"
            )
            continue
        settings = entry if isinstance(entry, dict) else {"threshold": entry}
        found[name] = _section(SignalConfig, settings, {}, where, mistakes)
    if not found and not mistakes:
        mistakes.append(
            f"{path}: [signals]: is empty; name at least one signal, or leave it out to sample all"
        )
    return MappingProxyType(found)


def _checked_vehicle(vehicle: Vehicle, path: Path, mistakes: list[str]) -> Vehicle:
    if not vehicle.id:
        return vehicle
    try:
        return dataclasses.replace(vehicle, id=check_vehicle(vehicle.id))
    except ValueError as error:
        mistakes.append(f"{path}: vehicle.id: {error}")
        return vehicle


def _located(bus: BusConfig, folder: Path) -> BusConfig:
    """Paths of a bus, seen from where the agent runs."""
    channel = str(folder / bus.channel) if bus.interface == "replay" else bus.channel
    return dataclasses.replace(bus, channel=channel, dbc=tuple(str(folder / name) for name in bus.dbc))
