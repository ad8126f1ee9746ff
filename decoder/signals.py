"""The signals of some buses: what they are called, what their counts are, and which raw values mean "not available"."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codec.schema import SCALED_BITS_MAX, Kind
from decoder import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cantools.database.can import Signal

    from decoder.dbc import Dbc

# Labels that say "not available" wherever they stand; also as the last word of a label (LIGHT_SNA).
CERTAIN_WORDS = ("sna", "not available", "notavailable", "unavailable", "signal not available", "no data")
# Labels that say so only as one of the two highest codes of at least 2 bits: 1 "Error" may be a plain fact.
LIKELY_WORDS = (
    "error",
    "error indicator",
    "invalid",
    "signal invalid",
    "data invalid",
    "fault indicator",
    "na",
    "n a",
)
NOT_AVAILABLE_WORDS = CERTAIN_WORDS + LIKELY_WORDS
J1939_NOT_AVAILABLE = 0xFE  # of the highest byte: 0xFE is an error indicator, 0xFF not available


@dataclass(frozen=True, slots=True)
class Bus:
    """One bus and its DBCs in order of precedence. Its index in the list of buses is `Frames.buses`."""

    name: str
    dbcs: tuple[Dbc, ...]


@dataclass(frozen=True, slots=True)
class BusSignal:
    """One signal on one bus, under the name that is unique among all of them."""

    name: str
    owner: tables.BusMessage
    signal: Signal


def bus_messages(buses: Sequence[Bus]) -> tuple[list[tables.BusMessage], list[str]]:
    """All messages, and warnings for IDs that clash."""
    return tables.merge([bus.dbcs for bus in buses], [bus.name for bus in buses])


def bus_signals(buses: Sequence[Bus], messages: Sequence[tables.BusMessage]) -> list[BusSignal]:
    """All signals with unique names: Signal, else Message.Signal, else bus:Message.Signal, else with the ID as well."""
    pairs = [(entry, signal) for entry in messages for signal in entry.message.signals]
    chosen = [""] * len(pairs)
    open_pairs = list(range(len(pairs)))
    taken: set[str] = set()
    for level in range(4):
        candidates = {index: _name(buses, *pairs[index], level) for index in open_pairs}
        uses = Counter(candidates.values())
        for index, name in candidates.items():
            if uses[name] == 1 and name not in taken:
                chosen[index] = name
        taken.update(chosen)
        open_pairs = [index for index in open_pairs if not chosen[index]]
    assert not open_pairs  # bus names are unique, and so are IDs on a bus and signals in a message
    return [BusSignal(name, *pair) for name, pair in zip(chosen, pairs, strict=True)]


def _name(buses: Sequence[Bus], entry: tables.BusMessage, signal: Signal, level: int) -> str:
    message = entry.message
    return (
        f"{signal.name}",
        f"{message.name}.{signal.name}",
        f"{buses[entry.bus].name}:{message.name}.{signal.name}",
        f"{buses[entry.bus].name}:{message.name}@{entry.key:X}.{signal.name}",
    )[level]


def kind_of(signal: Signal) -> Kind:
    """What the counts of a signal are."""
    if signal.is_float:
        return Kind.FLOAT64 if signal.length == 64 else Kind.FLOAT32
    if signal.length <= SCALED_BITS_MAX:
        return Kind.SCALED
    return Kind.WIDE_SIGNED if signal.is_signed else Kind.WIDE_UNSIGNED


def labels_of(signal: Signal) -> dict[int, str]:
    """The value table: counts to words."""
    return {int(count): str(word).strip() for count, word in (signal.conversion.choices or {}).items()}


def not_available(
    signal: Signal, *, j1939: bool, reject_outside: bool = False, words: Sequence[str] = NOT_AVAILABLE_WORDS
) -> tables.Limits:
    """The raw values of a signal that mean that there is no value."""
    if signal.length > 64:
        return tables.Limits()  # text, which no table holds
    labels = labels_of(signal)
    codes = (
        ()
        if signal.is_float
        else tuple(count for count in labels if says_not_available(signal, count, words))
    )
    low, high = _bounds(signal) if reject_outside else (-math.inf, math.inf)
    floor = _j1939_floor(signal, labels) if j1939 else 0
    mask = (1 << signal.length) - 1
    return tables.Limits(floor, tuple(sorted(count & mask for count in codes)), low, high)


def says_not_available(signal: Signal, count: int, words: Sequence[str] = NOT_AVAILABLE_WORDS) -> bool:
    """Whether the label of a count means "not available"."""
    label = _plain(labels_of(signal).get(count, ""))
    known = {_plain(word) for word in words}
    if label not in known:
        last = label.rsplit(" ", 1)[-1]
        return last == "sna" and "sna" in known
    if label not in LIKELY_WORDS:
        return True
    return signal.length >= 2 and count & ((1 << signal.length) - 1) >= (1 << signal.length) - 2


def is_enumeration(signal: Signal) -> bool:
    """Whether a value table names what the values mean, and not only "not available" or a few points of a range."""
    if signal.is_float:
        return False
    labels = [count for count in labels_of(signal) if not says_not_available(signal, count)]
    if not labels:
        return False
    return not signal.unit or len(labels) * 2 >= 1 << min(signal.length, 32)


def _j1939_floor(signal: Signal, labels: dict[int, str]) -> int:
    """Codes from here on mean error or not available in J1939, unless the value table gives them a meaning."""
    length = signal.length
    if signal.is_float or signal.is_signed or length < 2:
        return 0
    top = (1 << length) - 1
    floor = (
        J1939_NOT_AVAILABLE << length - 8
        if length >= 8 and length % 8 == 0
        else top - 1
        if length != 3
        else top
    )
    meant = [count for count in labels if count >= floor and not says_not_available(signal, count)]
    meant = [
        count for count in meant if not re.search("error|reserved|not|unavail", labels[count], re.IGNORECASE)
    ]
    floor = max([floor, *(count + 1 for count in meant)])
    return floor if floor <= top else 0


def _bounds(signal: Signal) -> tuple[float, float]:
    """Raw values of the DBC's [min, max]; without limits if it gives none."""
    low, high = signal.minimum, signal.maximum
    if low is None or high is None or not low < high:
        return -math.inf, math.inf
    factor, offset = float(signal.conversion.scale), float(signal.conversion.offset)
    ends = sorted(((float(low) - offset) / factor, (float(high) - offset) / factor))
    if signal.is_float:
        return ends[0], ends[1]
    return math.ceil(ends[0] - 1e-9), math.floor(ends[1] + 1e-9)


def _plain(label: str) -> str:
    """Words of a label in lower case: NotAvailable, NOT_AVAILABLE and "not available" are one."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return " ".join(re.findall(r"[a-z0-9]+", spaced.lower()))
