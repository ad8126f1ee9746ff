"""Bulk decoding is cantools' decoding, to the last bit, only faster."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.dbc import DbcError, load
from decoder.frames import EXTENDED, Frames
from decoder.signals import Bus
from decoder.tables import frame_key
from decoder.values import BulkDecoder
from tests.data_folder import DATA, recording
from tests.decoder import dbc_writer

SMALL_DBC_BYTES = 120_000


def decoded(decoder: BulkDecoder, frames: Frames) -> list[dict[str, float]]:
    """Values by signal name, for each frame."""
    rows: list[dict[str, float]] = [{} for _ in range(len(frames))]
    values = decoder.decode_values(frames)
    assert np.all(np.diff(values.frame) >= 0)
    for frame, signal, value in zip(values.frame, values.signal, values.value, strict=True):
        rows[frame][values.names[signal]] = float(value)
    return rows


def same_bits(one: float, other: float) -> bool:
    return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))


def value_of(line: str, data: str, *more: str) -> float | None:
    decoder = BulkDecoder([dbc_writer.bus("BO_ 1 M: 8 X", line, *more)])
    return decoded(decoder, dbc_writer.frames((0, 1, data)))[0].get("S")


@given(st.data())
def test_any_signal_of_any_message_equals_cantools(data):
    frame_id = data.draw(dbc_writer.FRAME_IDS)
    text, fields, width = data.draw(dbc_writer.messages(frame_id))
    decoder = BulkDecoder([dbc_writer.bus(text, *dbc_writer.float_lines(frame_id, fields))])
    payloads = data.draw(st.lists(st.binary(max_size=64), min_size=1, max_size=5))
    rows = decoded(decoder, Frames.from_rows((0, 0, frame_id, payload) for payload in payloads))
    for payload, row in zip(payloads, rows, strict=True):
        for field in fields:
            expected = dbc_writer.by_cantools(field, width, payload)
            if expected is None:
                assert field.name not in row
            else:
                assert same_bits(row[field.name], expected), (field, payload.hex())


@pytest.mark.parametrize(
    ("line", "data", "value"),
    [
        (' SG_ S : 0|16@1+ (0.1,-40) [0|0] "" X', "E803000000000000", 1000 * 0.1 - 40),
        (' SG_ S : 7|16@0+ (0.1,-40) [0|0] "" X', "03E8000000000000", 1000 * 0.1 - 40),
        (' SG_ S : 4|12@1- (1,0) [0|0] "" X', "F0FF000000000000", -1),
        (' SG_ S : 3|12@0- (1,0) [0|0] "" X', "0FFF000000000000", -1),
        (' SG_ S : 0|64@1+ (1,0) [0|0] "" X', "FFFFFFFFFFFFFFFF", float(2**64 - 1)),
        (' SG_ S : 0|64@1- (1,0) [0|0] "" X', "FEFFFFFFFFFFFFFF", -2),
        (' SG_ S : 0|64@1+ (1,1) [0|0] "" X', "FFFFFFFFFFFFFFFF", float(2**64)),  # beyond int64: by cantools
    ],
)
def test_where_the_bits_are(line, data, value):
    assert value_of(line, data) == value


@pytest.mark.parametrize(
    ("line", "data", "value"),
    [
        (' SG_ S : 0|16@1- (1,0) [0|0] "" X', "003C000000000000", 1.0),
        (' SG_ S : 0|16@1- (1,0) [0|0] "" X', "0100000000000000", 2.0**-24),
        (' SG_ S : 0|16@1- (1,0) [0|0] "" X', "00FC000000000000", -math.inf),
        (' SG_ S : 0|32@1- (0.5,1) [0|0] "" X', "0000C03F00000000", 1.75),
        (' SG_ S : 7|64@0- (1,0) [0|0] "" X', "8000000000000000", -0.0),
    ],
)
def test_floats_of_three_lengths(line, data, value):
    assert same_bits(value_of(line, data, "SIG_VALTYPE_ 1 S : 1;"), value)


class TestMultiplexing:
    BUS = dbc_writer.bus(
        "BO_ 1 M: 8 X", ' SG_ Page M : 0|8@1+ (1,0) [0|0] "" X', ' SG_ A m1 : 8|8@1+ (1,0) [0|0] "" X',
        ' SG_ Sub m2M : 8|8@1+ (1,0) [0|0] "" X', ' SG_ B m7 : 16|8@1+ (1,0) [0|0] "" X', ' SG_ Always : 56|8@1+ (1,0) [0|0] "" X',
        "SG_MUL_VAL_ 1 A Page 1-1, 4-6;", "SG_MUL_VAL_ 1 Sub Page 2-2;", "SG_MUL_VAL_ 1 B Sub 7-9;", 'VAL_ 1 Page 3 "nothing more" ;',
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("data", "values"),
        [
            ("01AA0000000000EE", {"Page": 1, "A": 0xAA, "Always": 0xEE}),
            ("05AA0000000000EE", {"Page": 5, "A": 0xAA, "Always": 0xEE}),
            ("0208BB00000000EE", {"Page": 2, "Sub": 8, "B": 0xBB, "Always": 0xEE}),
            ("03080000000000EE", {"Page": 3, "Always": 0xEE}),  # a named page without signals of its own
            ("0201BB00000000EE", {}),  # Sub has no case for 1
            ("09AA0000000000EE", {}),  # nor has Page for 9
            ("05AA", {"Page": 5, "A": 0xAA}),
            ("05", {"Page": 5}),
            ("", {}),
        ],
    )
    def test_a_frame_carries_its_pages_signals_and_with_an_unknown_page_nothing(self, data, values):
        assert decoded(BulkDecoder([self.BUS]), dbc_writer.frames((0, 1, data))) == [values]


class TestWhichMessage:
    SIGNAL = ' SG_ S : 0|8@1+ (1,0) [0|0] "" X'

    def test_11_and_29_bit_ids_with_the_same_number_are_two(self):
        bus = dbc_writer.bus("BO_ 256 A: 8 X", self.SIGNAL, "BO_ 2147483904 B: 8 X", self.SIGNAL)
        rows = decoded(
            BulkDecoder([bus]), dbc_writer.frames((0, 256, "01"), (0, EXTENDED | 256, "02"), (0, 257, "03"))
        )
        assert rows == [{"A.S": 1}, {"B.S": 2}, {}]

    def test_buses_do_not_mix(self):
        buses = [
            dbc_writer.bus("BO_ 256 A: 8 X", self.SIGNAL),
            dbc_writer.bus("BO_ 256 A: 8 X", self.SIGNAL, name="can1"),
        ]
        decoder = BulkDecoder(buses)
        assert decoder.names == ("can0:A.S", "can1:A.S")
        assert decoded(decoder, dbc_writer.frames((0, 256, "01"), bus=1)) == [{"can1:A.S": 1}]
        assert decoded(decoder, dbc_writer.frames((0, 256, "01"), bus=7)) == [{}]

    @pytest.mark.parametrize(
        ("frame_id", "found"),
        [
            (0x18FEF1FE, True),
            (0x18FEF100, True),
            (0x0CFEF1AB, True),  # another priority, another source
            (0x18FEF200, False),
            (0x1CFEF1FE & 0x7FF, False),
        ],
    )
    def test_j1939_goes_by_group_from_any_source(self, frame_id, found):
        bus = dbc_writer.bus(
            f"BO_ {EXTENDED | 0x18FEF1FE} CCVS1: 8 X", self.SIGNAL, 'BA_DEF_ BO_ "VFrameFormat" ENUM "a","b","c","J1939PG";',
            'BA_DEF_DEF_ "VFrameFormat" "J1939PG";',
        )  # fmt: skip
        frame_id |= EXTENDED if frame_id > 0x7FF else 0
        assert decoded(BulkDecoder([bus]), dbc_writer.frames((0, frame_id, "07"))) == [
            {"S": 7} if found else {}
        ]

    def test_a_group_with_a_destination_goes_to_any(self):
        bus = dbc_writer.bus(
            f"BO_ {EXTENDED | 0x0C0000FE} TSC1: 8 X", self.SIGNAL, 'BA_ "ProtocolType" "J1939";'
        )  # fmt: skip
        assert decoded(BulkDecoder([bus]), dbc_writer.frames((0, EXTENDED | 0x0C001122, "07"))) == [{"S": 7}]

    def test_of_two_dbcs_with_one_id_the_first_wins(self):
        first = dbc_writer.dbc("BO_ 256 A: 8 X", self.SIGNAL)
        second = dbc_writer.dbc("BO_ 256 B: 8 X", self.SIGNAL, "BO_ 257 C: 8 X", self.SIGNAL)
        decoder = BulkDecoder([Bus("can0", (first, second))])
        assert decoder.names == ("A.S", "C.S")
        assert decoder.warnings == (
            "bus can0: 1 messages of test.dbc left out, their IDs are in test.dbc: B (0x100)",
        )


def test_what_tables_cannot_express_cantools_decodes():
    bus = dbc_writer.bus(
        "BO_ 1 Text: 16 X", ' SG_ Words : 0|120@1+ (1,0) [0|0] "" X', ' SG_ Last : 120|8@1+ (1,0) [0|0] "" X',
        "BO_ 2 Plain: 8 X", ' SG_ S : 0|8@1+ (1,0) [0|0] "" X',
    )  # fmt: skip
    decoder = BulkDecoder([bus])
    assert "message Text: Words has 120 bits; left to cantools, which is slow" in decoder.warnings[0]
    rows = decoded(
        decoder, dbc_writer.frames((0, 2, "05"), (1, 1, "01" + "00" * 14 + "09"), (2, 2, "06"), (3, 1, "01"))
    )
    assert rows == [{"S": 5}, {"Words": 1, "Last": 9}, {"S": 6}, {}]


def test_codes_for_not_available_become_nan_on_request():
    bus = dbc_writer.bus("BO_ 1 M: 8 X", ' SG_ S : 0|8@1+ (1,0) [0|0] "" X', 'VAL_ 1 S 255 "SNA" ;')
    frames = dbc_writer.frames((0, 1, "FF"), (0, 1, "FE"))
    assert decoded(BulkDecoder([bus]), frames) == [{"S": 255}, {"S": 254}]
    masked = decoded(BulkDecoder([bus], mask_unavailable=True), frames)
    assert math.isnan(masked[0]["S"])
    assert masked[1] == {"S": 254}


def dbc_folders() -> list[str]:
    files = (path for path in DATA.rglob("*") if path.suffix.lower() == ".dbc")
    return sorted({str(path.parent.relative_to(DATA)) for path in files})


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is missing")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("folder", dbc_folders())
def test_real_dbcs_equal_cantools(folder):
    """Random frames of right and wrong lengths, through every message of every DBC that cantools itself can decode."""
    random = np.random.default_rng(1)
    compared = loaded = 0
    for file in sorted(path for path in (DATA / folder).iterdir() if path.suffix.lower() == ".dbc"):
        try:
            dbc = load(file)
        except DbcError:
            continue  # without a message, or no DBC at all: tests/decoder/test_dbc.py
        loaded += 1
        decoder = BulkDecoder([Bus("bus", (dbc,))])
        shapes = 3 if file.stat().st_size < SMALL_DBC_BYTES else 1
        for message in dbc.messages:
            lengths = np.clip(message.length + random.integers(-2, 2, shapes), 0, 64)
            payloads = [random.bytes(int(length)) for length in lengths]
            rows = decoded(
                decoder, Frames.from_rows((0, 0, frame_key(message), payload) for payload in payloads)
            )
            for payload, row in zip(payloads, rows, strict=True):
                try:
                    expected = message.decode(payload, decode_choices=False, allow_truncated=True)
                except Exception:  # noqa: BLE001  cantools gives up where signals overlap
                    continue
                got = {signal.rsplit(".", 1)[-1]: value for signal, value in row.items()}
                assert got.keys() == expected.keys(), (file.name, message.name)
                assert all(same_bits(got[key], float(value)) for key, value in expected.items()), message.name
                compared += len(expected)
    assert compared > loaded


def test_a_recorded_drive_equals_cantools():
    """Each signal of the Mustang's first frames, against cantools."""
    path = recording("mustang/mustang_s550_candump.log.gz")
    dbc = load(recording("mustang/ford_lincoln_base_pt.dbc"))
    frames = dbc_writer.candump(path, 2000)
    by_key = {frame_key(message): message for message in dbc.messages}
    decoder = BulkDecoder([Bus("can0", (dbc,))])
    compared = 0
    for i, row in enumerate(decoded(decoder, frames)):
        message = by_key.get(int(frames.ids[i]))
        if message is None:
            assert row == {}
            continue
        payload = frames.data[i, : frames.lengths[i]].tobytes()
        expected = message.decode(payload, decode_choices=False, allow_truncated=True)
        assert {name.rsplit(".", 1)[-1]: value for name, value in row.items()} == {
            name: float(value) for name, value in expected.items()
        }
        compared += len(expected)
    assert compared > 10_000
