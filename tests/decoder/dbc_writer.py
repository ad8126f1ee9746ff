"""DBCs and frames for tests: written by hand in a few words, or by hypothesis."""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cantools.database.can.formats import dbc as dbc_format
from hypothesis import strategies as st

from decoder.dbc import Dbc, parse
from decoder.frames import EXTENDED, Frames
from decoder.signals import Bus


def dbc(*lines: str) -> Dbc:
    return parse("\n".join(lines).encode(), "test.dbc")


def bus(*lines: str, name: str = "can0") -> Bus:
    return Bus(name, (dbc(*lines),))


def frames(*rows: tuple[float, int, str], bus: int = 0) -> Frames:
    """Frames of (seconds, ID, hexadecimal data) each."""
    return Frames.from_rows(
        (round(seconds * 1e9), bus, frame_id, bytes.fromhex(data)) for seconds, frame_id, data in rows
    )


if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Field:
    """A signal as hypothesis draws it."""

    name: str
    mark: str
    start: int
    length: int
    big_endian: bool
    signed: bool
    is_float: bool
    factor: str
    offset: str

    def line(self) -> str:
        order, sign = int(not self.big_endian), "-" if self.signed else "+"
        return f' SG_ {self.name} {self.mark} : {self.start}|{self.length}@{order}{sign} ({self.factor},{self.offset}) [0|0] "" X'

    def alone(self, length: int) -> str:
        """A DBC with this signal and no other, which cantools decodes even if the real message has overlaps."""
        lines = [f"BO_ 1 M: {length} X", self.line().replace(f" {self.mark} :", " :")]
        if self.is_float:
            lines.append(f"SIG_VALTYPE_ 1 {self.name} : {2 if self.length == 64 else 1};")
        return "\n".join(['VERSION ""', "", "BU_: X", *lines, ""])


FACTORS = ["1", "2", "-3", "10", "0.5", "0.1", "-0.05", "1e-06", "0.00390625", "1000000007", "1.0", "2.0"]
OFFSETS = ["0", "-40", "0.5", "1000000000000", "-1e-3", "12345678901", "3.0"]


@st.composite
def fields(draw: st.DrawFn, name: str, width: int, mark: str = "") -> Field:
    is_float = width > 1 and draw(st.integers(0, 5)) == 0
    lengths = [n for n in (16, 32, 64) if n <= width * 8] if is_float else range(1, min(64, width * 8) + 1)
    length = draw(st.sampled_from(list(lengths)))
    first = draw(st.integers(0, width * 8 - length))
    big_endian = draw(st.booleans())
    start = first // 8 * 8 + 7 - first % 8 if big_endian else first
    factor, offset = draw(st.sampled_from(FACTORS)), draw(st.sampled_from(OFFSETS))
    if draw(st.booleans()):
        factor, offset = "1", "0"
    return Field(name, mark, start, length, big_endian, draw(st.booleans()), is_float, factor, offset)


@st.composite
def messages(draw: st.DrawFn, frame_id: int) -> tuple[str, list[Field], int]:
    """Text of one message with simple fields that may overlap, the fields, and its length."""
    width = draw(st.sampled_from([1, 2, 5, 8, 12, 64]))
    drawn = [draw(fields(f"S{i}", width)) for i in range(draw(st.integers(1, 6)))]
    lines = [f"BO_ {frame_id} M{frame_id & 0xFFFF}: {width} X", *(field.line() for field in drawn)]
    return "\n".join(lines), drawn, width


def float_lines(frame_id: int, drawn: list[Field]) -> list[str]:
    return [
        f"SIG_VALTYPE_ {frame_id} {field.name} : {2 if field.length == 64 else 1};"
        for field in drawn
        if field.is_float
    ]


def by_cantools(field: Field, width: int, data: bytes) -> float | None:
    """What cantools makes of one signal; None if the frame is too short for it."""
    message = dbc_format.load_string(field.alone(width), strict=False).messages[0]
    decoded = message.decode(data, decode_choices=False, allow_truncated=True)
    value = decoded.get(field.name)
    return None if value is None else float(value)


FRAME_IDS = st.one_of(st.integers(0, 0x7FF), st.integers(0, 0x1FFFFFFF).map(lambda number: number | EXTENDED))


def candump(path: Path, frame_count: int) -> Frames:
    """The first frames of a compressed candump log."""
    rows = []
    with gzip.open(path, "rt") as log:
        for line in itertools.islice(log, frame_count):
            stamp, _, frame = line.split()[:3]
            frame_id, data = frame.split("#")
            flag = EXTENDED if len(frame_id) > 3 else 0
            rows.append(
                (round(float(stamp.strip("()")) * 1e9), 0, int(frame_id, 16) | flag, bytes.fromhex(data))
            )
    return Frames.from_rows(rows)
