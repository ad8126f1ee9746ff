"""Which signals a vehicle has, and which ones a question means. Pure.

Rules
- Signals are known by name, whatever schema they stand in. A schema that lacks one has it nowhere available.
- One question gives one unit for each signal: where a vehicle changed it in between, the question is refused, and the refusal says when.
- A name that is not known is answered with the nearest ones that are.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from codec.records import Availability
from codec.schema import Schema, Signal, physical
from collector import times
from collector.ingest.materialise import Value, digits_of, written_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from codec.records import Records
    from collector.store.stored import StreamSpan

NEAREST_MAX = 3
LISTED_MAX = 40  # names in a message: a screenful


class QueryError(ValueError):
    """A question that has no answer; the message says what can be asked."""


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """One signal of a vehicle. `labels`: {value: word}, values as they are read; empty where it has no value table."""

    name: str
    unit: str
    threshold: float
    minimum: float | None
    maximum: float | None
    source: str
    labels: tuple[tuple[float, str], ...] = ()
    digits: int | None = None  # decimals that tell its values apart; None: of a float

    @property
    def is_enumeration(self) -> bool:
        """Whether its value table names states, and not only what its last codes mean, as SNA on a speed does."""
        return not self.unit and any(0 <= value <= 1 for value, _ in self.labels)

    @classmethod
    def of(cls, signal: Signal) -> SignalInfo:
        values = physical(signal, np.array([count for count, _ in signal.labels], np.int64)).tolist()
        labels = tuple((value, word) for value, (_, word) in zip(values, signal.labels, strict=True))
        return cls(
            signal.name,
            signal.unit,
            signal.threshold,
            signal.minimum,
            signal.maximum,
            signal.source,
            labels,
            digits_of(signal),
        )


def known_signals(schemas: Iterable[Schema]) -> tuple[SignalInfo, ...]:
    """By name; of a signal that changed, as the last schema has it, with the words of all."""
    found: dict[str, SignalInfo] = {}
    for schema in schemas:
        for signal in schema.signals:
            info = SignalInfo.of(signal)
            before = found.get(signal.name)
            if before is not None and before.labels != info.labels:
                labels = tuple(sorted((dict(before.labels) | dict(info.labels)).items()))
                info = replace(info, labels=labels)
            found[signal.name] = info
    return tuple(found[name] for name in sorted(found))


def chosen_signals(
    names: Sequence[str] | None, known: Sequence[SignalInfo], whose: str
) -> tuple[SignalInfo, ...]:
    """The signals of these names, in their order, each once; None: all. Raises QueryError."""
    by_name = {info.name: info for info in known}
    if names is None:
        return tuple(known)
    if not names:
        raise QueryError("no signal is named")
    for name in names:
        if name not in by_name:
            raise QueryError(f"{whose} has no signal {name}; {nearest(name, list(by_name))}")
    return tuple(by_name[name] for name in dict.fromkeys(names))


def nearest(name: str, known: Sequence[str]) -> str:
    """What was meant by a name that is not known, or what is known."""
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, NEAREST_MAX, 0.5)
    near += [
        other
        for other in folded
        if name and (name.casefold() in other or other in name.casefold()) and other not in near
    ]
    if near:
        return f"did you mean {' or '.join(folded[other] for other in near[:NEAREST_MAX])}?"
    if not known:
        return "none is stored yet"
    more = len(known) - LISTED_MAX
    listed = ", ".join(known[:LISTED_MAX])
    return f"known are {listed}{f' and {more} more' if more > 0 else ''}"


def check_units(chosen: Sequence[SignalInfo], spans: Sequence[StreamSpan]) -> None:
    """Raises QueryError where a chosen signal changed its unit within these streams."""
    wanted = {info.name for info in chosen}
    seen: dict[str, str] = {}
    for span in sorted(spans, key=lambda one: one.start_ns):
        for signal in span.schema.signals:
            if signal.name not in wanted:
                continue
            before = seen.setdefault(signal.name, signal.unit)
            if before != signal.unit:
                raise QueryError(
                    f"{signal.name} is in {before or 'no unit'} before {times.to_text(span.start_ns)} and in "
                    f"{signal.unit or 'no unit'} after it; ask for each part of the range by itself"
                )


class Columns:
    """Where chosen signals stand in one schema."""

    def __init__(self, schema: Schema, names: Sequence[str]) -> None:
        place = {name: column for column, name in enumerate(schema.names)}
        self._columns = [
            (place[name], schema.signals[place[name]]) if name in place else None for name in names
        ]

    def values(self, records: Records) -> np.ndarray:
        """float64[n, k]: physical values; NaN where a signal is not available."""
        out = np.empty((len(records), len(self._columns)), np.float64)
        for k, found in enumerate(self._columns):
            if found is None:
                out[:, k] = np.nan
                continue
            column, signal = found
            out[:, k] = physical(signal, records.counts[:, column])
            absent = records.states[:, column] != Availability.AVAILABLE
            if absent.any():
                out[absent, k] = np.nan
        return out


def written_values(info: SignalInfo, values: np.ndarray) -> list[Value]:
    """Values as people write them: words, numbers rounded to the signal's own resolution, None where not available."""
    words = dict(info.labels)
    return [words.get(value) or written_number(value, info.digits) for value in values.tolist()]
