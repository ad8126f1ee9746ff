from __future__ import annotations

import pytest

from decoder.dbc import DbcError, load, parse
from tests.data_folder import DATA, recording

CAR = 'BO_ 256 Car: 8 X\n SG_ Speed : 0|16@1+ (0.1,0) [0|250] "{unit}" X\n'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no message"),
        (b"\x00\x01\x02\xff" * 100, "has no message"),
        (b"timestamp,id,data\n1,2,3\n", "has no message"),
        (b"BO_ 4294967295 A: 8 X\n", "has no message"),
    ],
)
def test_what_is_no_dbc_is_refused_in_one_line(content, why):
    with pytest.raises(DbcError, match=why) as refusal:
        parse(content, "some/car.dbc")
    assert str(refusal.value).startswith("some/car.dbc: ")
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DbcError, match=r"gone.dbc: cannot be read: No such file"):
        load(tmp_path / "gone.dbc")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_any_usual_encoding_is_read(encoding):
    dbc = parse(CAR.format(unit="°C").encode(encoding), "car.dbc")
    assert dbc.messages[0].signals[0].unit == "°C"


def test_bytes_that_no_encoding_explains_cost_their_unit_only():
    dbc = parse(CAR.encode().replace(b"{unit}", b"\x81\xb0"), "car.dbc")
    assert dbc.messages[0].signals[0].name == "Speed"
    assert "no encoding explains" in dbc.warnings[0]


def test_warnings_name_file_and_line():
    dbc = parse((CAR + 'VAL_ 256 Gone 1 "x" ;\n').encode(), "deep/car.dbc")
    assert dbc.warnings == ("car.dbc: line 3: VAL_ left out: Car has no signal Gone",)


def test_overlapping_signals_are_both_kept_and_named():
    dbc = parse((CAR + ' SG_ Low : 0|8@1+ (1,0) [0|0] "" X\n').encode(), "car.dbc")
    assert {signal.name for signal in dbc.messages[0].signals} == {"Speed", "Low"}
    assert "overlapping" in dbc.warnings[0]


def dbcs(folder: str) -> list[str]:
    return sorted(
        str(path.relative_to(DATA)) for path in (DATA / folder).rglob("*") if path.suffix.lower() == ".dbc"
    )


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is missing")
def test_every_dbc_of_opendbc_loads():
    names = dbcs("dbc/opendbc")
    assert len(names) == 96
    for name in names:
        assert load(recording(name)).messages, name


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is missing")
def test_every_other_dbc_loads_or_says_why_not():
    refused = []
    for name in dbcs("dbc/canmatrix") + dbcs("dbc/cantools"):
        try:
            load(recording(name))
        except DbcError as error:
            refused.append(str(error).splitlines()[0].partition(": ")[0].rsplit("/", 1)[-1])
    # None of these has a single message.
    assert refused == [
        "bus_comment_bare.dbc",
        "bus_comment_bare_out.dbc",
        "cp1252.dbc",
        "empty_ns.dbc",
        "issue_62.dbc",
    ]
