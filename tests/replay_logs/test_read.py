"""Reading logs as they are in the world: what can be used is used, and what is left out is said."""

from __future__ import annotations

import gzip
from functools import cache
from itertools import pairwise
from pathlib import Path

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay_logs.info import summarise
from replay_logs.read import LogError, open_log
from replay_logs.recording import load_recording
from tests.damage import LOG_TOKENS, damaged
from tests.data_folder import recording

LINES = (
    "(1.000000) can0 123#0102\n",
    "(1.010000) can0 18FEF100#1122334455667788\n",
    "(1.005000) can1 123#0304\n",
    "(1.005000) can1 7FF##1" + "AB" * 12 + "\n",
)
TEXT = "".join(LINES)


def read(path):
    log = open_log(path)
    return [(m.timestamp, str(m.channel), m.arbitration_id, bytes(m.data)) for m in log], log.left_out


@pytest.mark.parametrize(
    ("name", "frames", "left_out"),
    [
        ("formats/issue_1256.asc", 1457, 0),
        ("formats/issue_1299.asc", 4, 0),  # classic frames with length codes above 8
        ("formats/issue_1905.blf", 22, 0),
        ("formats/logfile.asc", 20, 0),
        ("formats/test_CanErrorFrames.asc", 4, 0),
        ("formats/test_CanFdMessage64.asc", 2, 0),
        ("formats/test_CanMessage.asc.gz", 2, 0),
        ("formats/test_CanMessage.blf", 2, 0),
        ("formats/test_CanMessage.trc", 2, 0),
        ("formats/test_CanMessage_V1_0_BUS1.trc", 11, 0),
        ("formats/test_CanMessage_V1_1.trc", 11, 0),
        ("formats/test_CanMessage_V1_3.trc", 11, 0),
        ("formats/test_CanMessage_V2_1.trc", 11, 0),
        ("formats/test_CanRemoteMessage.asc", 3, 0),
        ("leaf/EV-CANepluseco_candump.log.gz", 41602, 0),  # python-can refuses the name
        ("canedge/00000005-60FEB5A8.MF4", 5477, 0),
        ("quirky/VolvoEX30FullVehicle.gz", 35660, 1),
        ("quirky/off_idle_drive_off_charge_end_charge_contactors_off.log.gz", 57476, 1),
        ("quirky/canbus_turningon_quickly.csv.gz", 50361, 0),
        ("quirky/37501-Q4151+BatteryEmulator.csv", 16897, 0),
        ("uwfe/April30_2025_Zach_autocross_LOGS0_LOGS2.TXT.gz", 119345, 1),
    ],
)
def test_real_logs(name, frames, left_out):
    log = open_log(recording(name))
    assert sum(1 for _ in log) == frames
    assert len(log.left_out) == left_out, log.left_out


def test_negative_and_backward_stamps_are_kept():
    stamps = [message.timestamp for message in open_log(recording("quirky/37501-Q4151+BatteryEmulator.csv"))]
    assert stamps[0] < 0
    assert any(b < a for a, b in pairwise(stamps))


@pytest.mark.parametrize("name", ["a.log", "a.candump.log", "a.txt", "a.csv", "no suffix"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_content_says_what_format_it_is(tmp_path, name, packed):
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    frames, left_out = read(path)
    assert frames == [
        (1.0, "can0", 0x123, b"\x01\x02"),
        (1.01, "can0", 0x18FEF100, bytes.fromhex("1122334455667788")),
        (1.005, "can1", 0x123, b"\x03\x04"),
        (1.005, "can1", 0x7FF, b"\xab" * 12),
    ]
    assert left_out == ()


@pytest.mark.parametrize("suffix", [".log", ".asc", ".blf", ".csv", ".trc", ".db", ".mf4"])
def test_what_python_can_writes_can_be_read(tmp_path, suffix):
    path = tmp_path / f"written{suffix}"
    written = [
        can.Message(
            timestamp=1_700_000_000 + k / 100, arbitration_id=0x100 + k, is_extended_id=False, data=[k] * 8
        )
        for k in range(20)
    ]
    with can.Logger(path) as logger:
        for message in written:
            logger.on_message_received(message)
    assert [(m.arbitration_id, bytes(m.data)) for m in open_log(path)] == [
        (m.arbitration_id, bytes(m.data)) for m in written
    ]


@given(cut=st.integers(0, len(TEXT)))
def test_a_log_that_ends_anywhere_gives_all_that_is_whole(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "a.log"
    path.write_text(TEXT[:cut])
    whole = TEXT[:cut].count("\n")
    if not cut or "#" not in TEXT[:cut]:
        return
    frames, left_out = read(path)
    complete, _ = read(_written(path.with_name("whole.log"), TEXT))
    assert frames[:whole] == complete[:whole]
    assert len(frames) + len(left_out) >= whole
    assert len(frames) <= whole + 1


def _written(path, text):
    path.write_text(text)
    return path


def test_the_line_that_is_cut_is_named(tmp_path):
    path = _written(tmp_path / "a.log", LINES[0] * 3 + "(1.2) can0 123#01")
    frames, left_out = read(path)
    assert len(frames) == 3
    assert left_out == (
        "a.log line 4 ((1.2) can0 123#01): left out, the file ends in the middle of this line",
    )


def test_a_last_line_without_its_end_counts_if_nothing_is_missing(tmp_path):
    frames, left_out = read(_written(tmp_path / "a.log", LINES[0] + LINES[0].rstrip("\n")))
    assert len(frames) == 2
    assert left_out == ()


def test_a_compressed_file_that_ends_early_gives_what_it_has(tmp_path):
    packed = gzip.compress("".join(f"({k}.5) can0 {k % 0x700:03X}#{k:08X}\n" for k in range(20_000)).encode())
    path = tmp_path / "a.log.gz"
    path.write_bytes(packed[: len(packed) // 2])
    frames, left_out = read(path)
    assert 5_000 < len(frames) < 15_000
    assert any("ends early" in line for line in left_out)


@pytest.mark.parametrize(
    ("name", "bytes_left", "frames"),
    [("formats/issue_1905.blf", 300, 10), ("canedge/00000005-60FEB5A8.MF4", 100_000, 0)],
)
def test_a_binary_log_that_is_cut_gives_what_its_reader_can_tell(tmp_path, name, bytes_left, frames):
    path = tmp_path / "cut.bin"
    path.write_bytes(recording(name).read_bytes()[:bytes_left])
    found, left_out = read(path)
    assert len(found) == frames
    assert frames or "damaged or cut" in left_out[0]


@pytest.mark.parametrize(
    "bad",
    [
        "garbage",
        "(1.0) can0 12",
        "(x) can0 123#00",
        "\udcff\x00",
        "(1.0) can0 123#0G",
    ],
)
def test_a_bad_line_costs_that_line_only(tmp_path, bad):
    path = tmp_path / "a.log"
    path.write_bytes(
        (LINES[0] + bad + "\n" + LINES[1] + bad + "\n" + LINES[2]).encode(errors="surrogateescape")
    )
    frames, left_out = read(path)
    assert len(frames) == 3
    assert len(left_out) == 1
    assert "line 2" in left_out[0]
    assert "(and 1 more like it)" in left_out[0]


@pytest.mark.parametrize("suffix", [".asc", ".csv", ".trc"])
def test_a_bad_line_costs_no_other_line_in_other_text_formats(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with can.Logger(path) as logger:
        for k in range(10):
            logger.on_message_received(
                can.Message(
                    timestamp=1_700_000_000 + k,
                    arbitration_id=k,
                    is_extended_id=False,
                    data=[k] * 8,
                    channel=1,
                )
            )
    lines = path.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "05 05" in line or "BQUFBQUFBQU" in line)
    lines[place] = lines[place].replace("05 05", "zz zz").replace("BQUFBQUFBQU", "%")
    path.write_text("".join(lines))
    frames, left_out = read(path)
    assert [identifier for _, _, identifier, _ in frames] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert len(left_out) == 1


@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(lambda text: text.encode()),
        st.binary(max_size=60).map(lambda tail: TEXT.encode() + tail),
    )
)
def test_no_bytes_break_the_reader(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "a.log"
    path.write_bytes(content)
    try:
        frames, _ = read(path)
    except LogError:
        return  # the only error there may be
    assert all(identifier < 1 << 29 for _, _, identifier, _ in frames)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"Dear diary\n", "no frame found"),
        (b"\x1f\x8bxxxx", "damaged"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "a.log"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LogError, match=says) as caught:
        list(open_log(path))
    assert "\n" not in str(caught.value)


def test_a_log_can_be_read_again(tmp_path):
    log = open_log(_written(tmp_path / "a.log", TEXT))
    assert [m.timestamp for m in log] == [m.timestamp for m in log]


def test_the_share_read_goes_from_nothing_to_all(tmp_path):
    log = open_log(_written(tmp_path / "a.log", LINES[0] * 20_000))
    shares = [log.share_read for _ in log]
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] == 1.0


FORMATS = (".asc", ".blf", ".csv", ".db", ".log", ".mf4", ".trc")


@cache
def sound(folder: Path, suffix: str) -> bytes:
    """A log of a few frames, as python-can writes it."""
    path = folder / f"sound{suffix}"
    with can.Logger(str(path)) as logger:
        for k in range(12):
            data = bytes(range(k % 9))
            logger(can.Message(1.6e9 + k / 100, 0x123 + k, is_extended_id=bool(k % 2), channel=0, data=data))
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32), named=st.sampled_from([*FORMATS, ".txt"]))
def test_damage_costs_frames_and_a_line_each_and_nothing_else(folder, suffix, seed, named):
    path = folder / f"damaged{suffix if seed % 4 else named}"
    path.write_bytes(damaged(sound(folder, suffix), seed, LOG_TOKENS))
    try:
        recording = load_recording(open_log(path))
    except LogError as error:
        refusal = str(error)
    else:
        refusal = ""
        summarise(recording, 500_000)
    if refusal:
        assert refusal.startswith(str(path))
        assert "\n" not in refusal
        return
    assert len(recording.frames) < 1000
    for line in recording.left_out:
        assert line.startswith(path.name)
        assert "\n" not in line
        assert len(line) < 400


@pytest.mark.parametrize("stamp", ["9" * 30, "9" * 400 + ".0", "4611686018.5", "-99999999999.0"])
def test_a_stamp_that_is_no_time_costs_its_frame(tmp_path, stamp, caplog):
    path = tmp_path / "a.log"
    path.write_text(f"(1.000000) can0 123#01\n({stamp}) can0 123#02\n(1.010000) can0 123#03\n")
    recording = load_recording(open_log(path))
    assert recording.frames.data[:, 0].tolist() == [1, 3]
    assert recording.left_out[0].startswith("a.log line 2 ")


def test_what_pythoncan_leaves_out_without_a_word_is_said(tmp_path, folder, caplog):
    lines = sound(folder, ".trc").decode().splitlines(keepends=True)
    broken = next(at for at, line in enumerate(lines) if not line.startswith(";")) + 2
    lines[broken] = lines[broken].rstrip()[:-2] + "ZZ\n"
    path = tmp_path / "a.trc"
    path.write_text("".join(lines))
    recording = load_recording(open_log(path))
    assert len(recording.frames) == 11
    assert recording.left_out[0].startswith(f"a.trc line {broken + 1} ")


def test_a_header_that_makes_no_sense_is_not_read_for_ever(tmp_path, folder):
    path = tmp_path / "a.trc"
    path.write_bytes(sound(folder, ".trc")[:400].replace(b"STARTTIME=", b"STARTTIME=soon"))
    recording = load_recording(open_log(path))
    assert len(recording.frames) == 0
    assert recording.left_out[0].startswith("a.trc line 2 ")


def test_more_channels_than_any_vehicle_has_are_refused(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("".join(f"(1.0) can{at} 123#01\n" for at in range(257)))
    with pytest.raises(LogError, match=r"a\.log: more than 256 channels"):
        load_recording(open_log(path))
