"""Messages compiled to tables of integers, which is all that the kernels know of a DBC.

Rules
- A message is a tree, as cantools has it: a *node* has signals (rows) and multiplexors (switches); a switch has cases,
  each a value and the node that follows. A frame is decoded by the nodes on its path. If a switch has no case for the
  value that a frame carries, the frame updates nothing.
- A row says where the bits of one signal are and how raw bits become a value, to the last bit of cantools' float64.
- J1939 messages are found by their exact ID or else by their PGN, from any source address.
- What rows cannot express (`inexpressible`, `opaque`) is left to cantools.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from codec.signature import I32, U64, F64x2, I32x2, I64x2
from decoder.frames import EXTENDED, FD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cantools.database.can import Message, Signal
    from numpy.typing import NDArray

    from decoder.dbc import Dbc

# Columns of `Tables.rows`.
COLUMN, WORD, UP, DOWN, SPILL, END_BYTE, BIG_ENDIAN, FORM, ARITHMETIC, ROW_COLUMNS = range(10)
UNSIGNED, SIGNED, UNSIGNED64, FLOAT16, FLOAT32, FLOAT64 = range(6)  # FORM
LINEAR, WHOLE, WHOLE_TIMES = range(3)  # ARITHMETIC: in float64; in integers; product in integers
# Columns of `Tables.limits`: an unsigned raw >= FLOOR (not 0) is "not available", and so is each of its codes.
FLOOR, CODES_FIRST, CODES_END, LIMIT_COLUMNS = range(4)
BUSES_MAX = 256
PGN_KEY = 1 << 30  # bit 30 is free in IDs: it marks a PGN
EXACT_FLOAT = 1 << 53
CASE_MAX = 1 << 62  # a multiplexor's value is less; a page beyond is never sent
CASE_SHIFT = 32  # of the switch in a case's hash
INT64_MAX = (1 << 63) - 1


class Tables(NamedTuple):
    """What kernels take. All integers are int64 unless said otherwise."""

    standard: I32  # [buses * 2048]: message of an 11-bit ID, or -1
    keys: U64  # [power of two]: bus << 32 | 29-bit ID with bit 31, or PGN_KEY | PGN; open addressing
    found: I32  # [same]: its message, or -1
    messages: I64x2  # [messages, 2]: root node, most nodes of any path
    nodes: I64x2  # [nodes, 4]: first row, end row, first switch, end switch
    switches: I64x2  # [switches, 1]: row
    cases: I64x2  # [power of two, 3]: switch, or -1; value; node that follows; open addressing
    rows: I32x2  # [rows, ROW_COLUMNS]: narrow, as a wide DBC's do not fit the nearest cache
    scales: F64x2  # [rows, 2]: factor, offset
    wholes: I64x2  # [rows, 2]: the same where they are whole numbers and ARITHMETIC needs them
    limits: I64x2  # [columns, LIMIT_COLUMNS]
    bounds: F64x2  # [columns, 2]: a raw value outside is "not available", and so is NaN
    codes: U64  # raw codes that mean "not available"

    @property
    def path_nodes(self) -> int:
        """Most nodes on the path of any frame."""
        return int(self.messages[:, 1].max(initial=1))


@dataclass(frozen=True, slots=True)
class BusMessage:
    """A message on one bus."""

    bus: int
    message: Message
    source: str  # file name of its DBC

    @property
    def key(self) -> int:
        return frame_key(self.message)


@dataclass(frozen=True, slots=True)
class Limits:
    """Which raw values of a signal mean that it is not available."""

    floor: int = 0  # unsigned raw >= floor, where floor is not 0
    codes: tuple[int, ...] = ()  # unsigned raw
    low: float = -math.inf  # outside low..high, in raw values
    high: float = math.inf


def frame_key(message: Message) -> int:
    """The ID as frames carry it: bit 31 set for 29 bits."""
    return int(message.frame_id) | (EXTENDED if message.is_extended_frame else 0)


def pgn(frame_id: int) -> int:
    """Parameter group number of a 29-bit ID: without priority and source, nor destination where there is one."""
    group = frame_id >> 8 & 0x3FFFF
    return group if group >> 8 & 0xFF >= 0xF0 else group & 0x3FF00


def merge(buses: Sequence[Sequence[Dbc]], names: Sequence[str]) -> tuple[list[BusMessage], list[str]]:
    """The messages of each bus; where two DBCs of one bus have the same ID, the first wins, with a warning."""
    assert len(buses) <= BUSES_MAX
    messages: list[BusMessage] = []
    warnings: list[str] = []
    for bus, dbcs in enumerate(buses):
        owners: dict[int, BusMessage] = {}
        for dbc in dbcs:
            source = dbc.path.replace("\\", "/").rsplit("/", 1)[-1]
            lost: dict[str, list[str]] = defaultdict(list)
            for message in dbc.messages:
                candidate = BusMessage(bus, message, source)
                owner = owners.setdefault(candidate.key, candidate)
                if owner is not candidate:
                    lost[owner.source].append(f"{message.name} (0x{message.frame_id:X})")
            for winner, left_out in lost.items():
                shown = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
                warnings.append(
                    f"bus {names[bus]}: {len(left_out)} messages of {source} left out, their IDs are in {winner}: {shown}"
                )
        messages += owners.values()
    return messages, warnings


def occurring(
    messages: Sequence[BusMessage], buses: NDArray[np.uint8], ids: NDArray[np.uint32]
) -> set[tuple[int, int]]:
    """(bus, key) of the messages that have frames among buses and ids [n]."""
    exact = {(entry.bus, entry.key) for entry in messages}
    groups = {
        (entry.bus, pgn(entry.message.frame_id)): (entry.bus, entry.key)
        for entry in reversed(messages)  # the first of a group wins, as in `_lookup`
        if entry.message.is_extended_frame and entry.message.protocol == "j1939"
    }
    seen: set[tuple[int, int]] = set()
    for number in np.unique(buses.astype(np.int64) << 32 | ids).tolist():
        bus, frame_id = number >> 32, number & 0xFFFFFFFF
        if (bus, frame_id) in exact:
            seen.add((bus, frame_id))
        elif frame_id & EXTENDED and (bus, pgn(frame_id & ~EXTENDED)) in groups:
            seen.add(groups[bus, pgn(frame_id & ~EXTENDED)])
    return seen


def network_bit(signal: Signal) -> int:
    """First bit of a signal, counted in the order of its bytes."""
    start: int = signal.start
    return start // 8 * 8 + 7 - start % 8 if signal.byte_order == "big_endian" else start


def end_byte(signal: Signal) -> int:
    """How long a frame must be to carry a signal whole."""
    return (network_bit(signal) + int(signal.length) + 7) // 8


def inexpressible(signal: Signal) -> str:
    """Why a row cannot give a signal's values, or an empty string."""
    if end_byte(signal) > FD_BYTES:
        return f"lies beyond the {FD_BYTES} bytes of a frame"
    if signal.length > 64:
        return f"has {signal.length} bits"
    if signal.is_float and signal.length not in (16, 32, 64):
        return f"is a float of {signal.length} bits"
    return "" if _arithmetic(signal) is not None else "has values of more than 64 bits"


def opaque(message: Message) -> str:
    """Why tables know nothing of what is in a message, or an empty string."""
    if message.is_container:
        return "is a container"
    reasons = [
        f"has {signal.name}, which {inexpressible(signal)}"
        for signal in message.signals
        if signal.is_multiplexer and inexpressible(signal)
    ]
    return reasons[0] if reasons else ""


def compile_tables(
    messages: Sequence[BusMessage],
    column_of: Callable[[BusMessage, Signal], int],
    columns: int,
    limits: dict[int, Limits] | None = None,
) -> Tables:
    """Tables for `messages`, of the signals that `column_of` gives a column (not -1) below `columns`.

    Each of these has at most 64 bits within 64 bytes. Opaque messages are matched, and have no values.
    """
    compiler = _Compiler(column_of)
    roots = [compiler.message(entry) for entry in messages]
    standard, keys, found = _lookup(messages)
    given = [(limits or {}).get(column, Limits()) for column in range(columns)]
    ends = np.cumsum([len(limit.codes) for limit in given], dtype=np.int64)
    floors = np.array([limit.floor for limit in given], np.uint64).view(np.int64)
    return Tables(
        standard,
        keys,
        found,
        np.array(roots, np.int64).reshape(-1, 2),
        np.array(compiler.nodes, np.int64).reshape(-1, 4),
        np.array(compiler.switches, np.int64).reshape(-1, 1),
        _hashed_cases(compiler.cases),
        np.array(compiler.rows, np.int32).reshape(-1, ROW_COLUMNS),
        np.array(compiler.scales, np.float64).reshape(-1, 2),
        np.array(compiler.wholes, np.int64).reshape(-1, 2),
        np.column_stack((floors, ends - [len(limit.codes) for limit in given], ends))
        .astype(np.int64)
        .reshape(-1, LIMIT_COLUMNS),
        np.array([(limit.low, limit.high) for limit in given], np.float64).reshape(-1, 2),
        np.array([code for limit in given for code in limit.codes], np.uint64),
    )


class _Compiler:
    """Collects rows, nodes, switches and cases of one message after the other."""

    def __init__(self, column_of: Callable[[BusMessage, Signal], int]) -> None:
        self.column_of = column_of
        self.rows: list[list[int]] = []
        self.scales: list[tuple[float, float]] = []
        self.wholes: list[tuple[int, int]] = []
        self.nodes: list[list[int]] = []
        self.switches: list[int] = []  # rows
        self.cases: list[tuple[int, int, int]] = []  # switch, value, node

    def message(self, entry: BusMessage) -> tuple[int, int]:
        """Its root node, and the most nodes of any path from it."""
        children: dict[str | None, list[Signal]] = defaultdict(list)
        for signal in () if opaque(entry.message) else entry.message.signals:
            children[signal.multiplexer_signal].append(signal)
        known: dict[tuple[str | None, tuple[str, ...]], tuple[int, int]] = {}
        return self._node(entry, children, None, children[None], known)

    def _node(
        self,
        entry: BusMessage,
        children: dict[str | None, list[Signal]],
        parent: str | None,
        signals: Sequence[Signal],
        known: dict[tuple[str | None, tuple[str, ...]], tuple[int, int]],
    ) -> tuple[int, int]:
        """Index of the node with these signals, and the most nodes of any path from it. Equal nodes are made once."""
        identity = (parent, tuple(signal.name for signal in signals))
        if identity in known:
            return known[identity]
        switches: list[tuple[int, list[tuple[int, int]]]] = []
        most_nodes = 1
        for signal in signals:
            if not signal.is_multiplexer:
                continue  # cantools gives values to the children of multiplexors only
            by_value: dict[int, list[Signal]] = {int(value): [] for value in signal.conversion.choices or {}}
            for child in children[signal.name]:
                for value in child.multiplexer_ids or ():
                    by_value.setdefault(int(value), []).append(child)
            by_value = {value: below for value, below in by_value.items() if abs(value) < CASE_MAX}
            if not by_value:
                continue  # switches nothing, so any value will do
            below = {
                value: self._node(entry, children, signal.name, by_value[value], known)
                for value in sorted(by_value)
            }
            most_nodes += max(count for _, count in below.values())
            switches.append((self._row(signal, -1), [(value, node) for value, (node, _) in below.items()]))
        first_row = len(self.rows)
        for signal in signals:
            column = self.column_of(entry, signal)
            if column >= 0:
                self._row(signal, column)
        end_row = len(self.rows)
        first_switch = len(self.switches)
        for row, cases in switches:
            self.cases += [(len(self.switches), value, node) for value, node in cases]
            self.switches.append(row)
        self.nodes.append([first_row, end_row, first_switch, len(self.switches)])
        known[identity] = len(self.nodes) - 1, most_nodes
        return known[identity]

    def _row(self, signal: Signal, column: int) -> int:
        row = [0] * ROW_COLUMNS
        first, length = network_bit(signal), int(signal.length)
        beyond = first % 64 + length - 64  # bits that lie in the next word
        big_endian = signal.byte_order == "big_endian"
        row[COLUMN], row[WORD], row[END_BYTE] = column, first // 64, end_byte(signal)
        row[BIG_ENDIAN], row[DOWN] = int(big_endian), 64 - length
        if beyond > 0:
            row[UP], row[SPILL] = 64 - length, beyond if big_endian else 64 - first % 64
        else:
            row[UP] = first % 64 if big_endian else -beyond
        if signal.is_float:
            row[FORM] = {16: FLOAT16, 32: FLOAT32, 64: FLOAT64}[length]
        elif signal.is_signed:
            row[FORM] = SIGNED
        else:
            row[FORM] = UNSIGNED if length < 64 else UNSIGNED64
        assert length <= 64, signal.name
        assert end_byte(signal) <= FD_BYTES, signal.name
        arithmetic = _arithmetic(signal) or LINEAR  # where int64 is too small, only raw counts are of use
        row[ARITHMETIC] = arithmetic
        scale, offset = signal.conversion.scale, signal.conversion.offset
        self.rows.append(row)
        # x * 1 + -0.0 is x, whatever its bits: -0.0 stays what it is.
        self.scales.append((1.0, -0.0) if (scale, offset) == (1, 0) else (float(scale), float(offset)))
        self.wholes.append((int(scale) if arithmetic else 0, int(offset) if arithmetic == WHOLE else 0))
        return len(self.rows) - 1


def _arithmetic(signal: Signal) -> int | None:
    """How cantools reckons raw * factor + offset, where float64 would round differently. None: beyond int64."""
    factor, offset = signal.conversion.scale, signal.conversion.offset
    if signal.is_float or (factor == 1 and offset == 0):
        return LINEAR
    low = -(1 << signal.length - 1) if signal.is_signed else 0
    high = (1 << signal.length - (1 if signal.is_signed else 0)) - 1
    whole_offset = float(offset).is_integer()
    if float(factor).is_integer() and (whole_offset or isinstance(factor, int)):
        products = (low * int(factor), high * int(factor))
        sums = [product + int(offset) for product in products] if whole_offset else []
        numbers = [abs(number) for number in (*products, *sums, low, high)]
        if max(numbers) > INT64_MAX:
            return None
        if max(numbers) > EXACT_FLOAT:
            return WHOLE if whole_offset else WHOLE_TIMES
    return LINEAR


def _lookup(
    messages: Sequence[BusMessage],
) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.int32]]:
    buses = max((entry.bus for entry in messages), default=0) + 1
    standard = np.full(buses * 2048, -1, np.int32)
    by_key: dict[int, int] = {}
    for index, entry in enumerate(messages):
        if entry.message.is_extended_frame:
            by_key[entry.bus << 32 | entry.key] = index
        else:
            standard[entry.bus * 2048 + entry.message.frame_id] = index
    for index, entry in enumerate(messages):
        if entry.message.is_extended_frame and entry.message.protocol == "j1939":
            by_key.setdefault(entry.bus << 32 | PGN_KEY | pgn(entry.message.frame_id), index)
    size = 4
    while size < 4 * len(by_key):
        size *= 2
    keys, found = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    for key, index in by_key.items():
        slot = hash_slot(key, size)
        while found[slot] >= 0:
            slot = (slot + 1) % size
        keys[slot], found[slot] = key, index
    return standard, keys, found


def _hashed_cases(cases: Sequence[tuple[int, int, int]]) -> I64x2:
    size = 4
    while size < 4 * len(cases):
        size *= 2
    table = np.full((size, 3), -1, np.int64)
    for case in cases:
        slot = hash_slot(case[1] + (case[0] << CASE_SHIFT), size)
        while table[slot, 0] >= 0:
            slot = (slot + 1) % size
        table[slot] = case
    return table


def hash_slot(key: int, size: int) -> int:
    """Where to look for a key first; the kernels reckon the same."""
    return ((key * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF) >> 33 & (size - 1)
