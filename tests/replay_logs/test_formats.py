"""The line formats that python-can does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_logs.formats import brackets, hexadecimal, savvy, sniff


@pytest.mark.parametrize(
    ("parse", "line", "expected"),
    [
        (brackets, "(360.26) RX0 226 [2] 00 30\n", (360.26, "0", 0x226, False, "0030")),
        (brackets, "(1.5)  vcan0  18FEF100   [0]", (1.5, "vcan0", 0x18FEF100, True, "")),
        (brackets, "(420.04) RX0 128 [8] E9 36E (420315) wifi", None),
        (brackets, "(1.0) RX0 A", None),
        (savvy, "-1725172529967471,00000491,false,Rx,0,2,0A,FF,", (-1725172529.967471, "0", 0x491, False, "0aff")),
        (savvy, "6394789,18DAF110,true,Tx,1,1,00,", (6.394789, "1", 0x18DAF110, True, "00")),
        (savvy, "6394789,0000019A,false,0,1,A5", (6.394789, "0", 0x19A, False, "a5")),  # without direction
        (savvy, "6394789,0000019A,false,Rx,0,8,A5,00", None),  # cut
        (savvy, "Time Stamp,ID,Extended,Dir,Bus,LEN,D1", None),
        (hexadecimal, "00095860x0CFFA1014101B80BB80B0000", (612.448, "0", 0x0CFFA101, True, "4101b80bb80b0000")),
        (hexadecimal, "00096350x2001B718070B630100000000", None),  # more than 29 bits
        (hexadecimal, "00095860x0CFFA1014101B80BB80B000", None),  # half a byte
    ],
)  # fmt: skip
def test_lines(parse, line, expected):
    message = parse(line)
    if expected is None:
        assert message is None
    else:
        found = (
            message.timestamp,
            message.channel,
            message.arbitration_id,
            message.is_extended_id,
            message.data.hex(),
        )
        assert found == expected


@pytest.mark.parametrize("parse", [brackets, savvy, hexadecimal])
@given(
    line=st.one_of(
        st.text(max_size=60),
        st.from_regex(r"\(\d+\.\d\) c [0-9A-F]{1,9} \[\d\]( [0-9A-F]{2}){0,9}", fullmatch=True),
    )
)
def test_no_line_breaks_a_parser(parse, line):
    message = parse(line)
    assert message is None or message.arbitration_id < 1 << 29


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("(1.0) can0 123#00\n", ".log"),
        ("\nPuTTY log\n(1.0) RX0 123 [1] 00\n", "candump with brackets"),
        ("timestamp,arbitration_id,extended,remote,error,dlc,data\n", ".csv"),
        (";$FILEVERSION=2.1\n", ".trc"),
        ("date Sam Sep 30 15:06:13.191 2017\nbase hex  timestamps absolute\n", ".asc"),
        ("00095860x0CFFA1014101B80BB80B0000\n", "hexadecimal lines"),
    ],
)
def test_formats_are_told_by_their_first_lines(sample, name):
    found = sniff(sample)
    assert found is not None
    assert found[0] == name


def test_prose_is_no_log():
    assert sniff("Lorem ipsum dolor sit amet\n" * 10) is None
