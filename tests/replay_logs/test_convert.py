"""Tables become logs that decode to the same numbers, and mistakes are named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder import dbc
from decoder.defaults import default_choices
from decoder.plan import build_plan
from decoder.sampler import Sampler, sample_log
from decoder.signals import Bus
from replay_logs.__main__ import main
from replay_logs.convert import TableError, convert, dbc_text, decimals, log_lines
from replay_logs.mapping import MappingError, TableMapping, load_mapping, parse_mapping
from replay_logs.read import open_log
from replay_logs.recording import load_recording
from tests.damage import TOML_TOKENS, damaged
from tests.data_folder import recording

MAPPING = """
[table]
time = "t"
start = 2026-01-01T00:00:00Z
[signals.Temp]
column = "temp_f"
unit = "degC"
scale = 0.5555555555555556
offset = -17.77777777777778
resolution = 0.01
[signals.Pressure]
column = "p"
unit = "bar"
message = "Hydraulics"
[signals.Mode]
column = "mode"
"""
TABLE = "t,temp_f,p,mode,unused\n0,68,1.25,3,x\n1,70.5,-0.5,3,y\n2,,1.5,4,z\n3,32,1e-3,4,\n"


def sampled(folder, rate_hz=1):
    """{signal: values at each tick} of a converted table, as an agent samples it."""
    path = folder / "stand.log"
    bus = Bus("can0", (dbc.load(folder / "stand.dbc"),))
    frames = load_recording(open_log(path)).frames
    plan = build_plan([bus], default_choices([bus], frames), rate_hz=rate_hz)
    runs = list(sample_log(Sampler(plan), frames))
    values = np.concatenate([plan.schema.to_physical(run.counts, run.states) for run in runs])
    return {name: values[:, column] for column, name in enumerate(plan.schema.names)}, plan.schema


@pytest.fixture
def stand(tmp_path):
    (tmp_path / "stand.csv").write_text(TABLE)
    (tmp_path / "map.toml").write_text(MAPPING)
    return tmp_path


def converted(folder, *more):
    return main(
        [
            "convert",
            str(folder / "stand.csv"),
            "--map",
            str(folder / "map.toml"),
            "-o",
            str(folder / "stand.log"),
            *more,
        ]
    )


def test_a_table_becomes_a_dbc_and_a_log_that_an_agent_samples_row_by_row(stand, capsys):
    assert converted(stand) == 0
    assert "3 signals in 2 messages" in capsys.readouterr().out
    values, schema = sampled(stand)
    np.testing.assert_allclose(values["Temp"], [20.0, 21.39, np.nan, 0.0], atol=0.005)
    np.testing.assert_allclose(values["Pressure"], [1.25, -0.5, 1.5, 0.001], atol=1e-9)
    np.testing.assert_array_equal(values["Mode"], [3, 3, 4, 4])
    assert [(s.name, s.unit) for s in schema.signals] == [("Temp", "degC"), ("Mode", ""), ("Pressure", "bar")]
    text = (stand / "stand.log").read_text().splitlines()
    assert text[1].startswith("(1767225600.000000) can0 101#")  # ends at the row's time
    assert text[0] < text[1]


def test_rows_can_be_chosen_and_names_given(tmp_path, capsys):
    (tmp_path / "stand.csv").write_text("1 1 10.0  \n1 2 11.0\n2 1 90.0\n2 2 91.5 \n\n")
    (tmp_path / "map.toml").write_text(
        '[table]\ncolumns = ["unit", "cycle", "s"]\ntime = "cycle"\n[signals.S]\ncolumn = "s"\nunit = "1"\n'
    )
    assert converted(tmp_path, "--where", "unit=2") == 0
    values, _ = sampled(tmp_path)
    np.testing.assert_array_equal(values["S"], [90.0, 91.5])


def test_rows_without_a_time_come_at_a_rate(tmp_path):
    (tmp_path / "stand.csv").write_text("s\n" + "".join(f"{n}\n" for n in range(40)))
    (tmp_path / "map.toml").write_text('[table]\nrate_hz = 20\n[signals.S]\ncolumn = "s"\nunit = "V"')
    assert converted(tmp_path) == 0
    values, _ = sampled(tmp_path, rate_hz=20)
    np.testing.assert_array_equal(values["S"], np.arange(40.0))


def test_a_row_out_of_time_is_left_out_and_counted(tmp_path, capsys):
    (tmp_path / "stand.csv").write_text("t,s\n0,1\n2,2\n1,3\n2,4\n3,5\n")
    (tmp_path / "map.toml").write_text('[table]\ntime = "t"\n[signals.S]\ncolumn = "s"\nunit = "V"')
    assert converted(tmp_path) == 0
    assert "2 rows are left out" in capsys.readouterr().err
    values, _ = sampled(tmp_path)
    np.testing.assert_array_equal(values["S"], [1, 1, 2, 5])


@given(
    column=st.lists(st.none() | st.floats(-1e5, 1e5).map(lambda x: round(x, 3)), min_size=1, max_size=30),
    resolution=st.none() | st.sampled_from([0.001, 0.02, 0.5, 7.0]),
    scale=st.sampled_from([1.0, -2.0, 0.1]),
    offset=st.sampled_from([0.0, -40.0, 1e4]),
)
def test_nothing_is_lost_beyond_half_the_resolution(column, resolution, scale, offset, tmp_path_factory):
    path = tmp_path_factory.mktemp("law") / "t.csv"
    path.write_text("s\n" + "".join('""\n' if x is None else f"{x!r}\n" for x in column))
    entry = {"scale": scale, "offset": offset} | ({"resolution": resolution} if resolution else {})
    found = convert(
        path, parse_mapping({"table": {"rate_hz": 1.0, "separator": ","}, "signals": {"s": entry}})
    )
    (laid,) = found.messages[0].signals
    step = resolution or 10.0 ** -decimals([repr(x) for x in column if x is not None]) * abs(scale)
    for count, value in zip(laid.counts, column, strict=True):
        if value is None:
            assert count == laid.not_available
            continue
        assert 0 <= count < laid.not_available
        wanted = value * scale + offset
        assert abs(count * laid.factor + laid.offset - wanted) <= step / 2 + 1e-6


def test_frames_are_filled_and_numbered():
    columns = {f"S{n}": {"unit": "V", "resolution": 0.001} for n in range(20)}
    mapping = parse_mapping({"table": {"rate_hz": 10}, "signals": columns})
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(",".join(columns) + "\n" + ",".join(["0"] * 20) + "\n" + ",".join(["60"] * 20) + "\n")
        found = convert(path, mapping)
    assert [message.name for message in found.messages] == [f"Table{n}" for n in range(1, 6)]
    for message in found.messages:
        ends = [one.start + one.length for one in message.signals]
        assert [one.start for one in message.signals] == [0, *ends[:-1]]
        assert ends[-1] <= 64
    assert len(list(log_lines(found))) == 10
    assert 'VAL_ 256 S0 65535 "SNA" ;' in dbc_text(found)


def test_tables_with_ranges_have_one_dbc(tmp_path):
    mapping = parse_mapping(
        {"table": {"rate_hz": 1}, "signals": {"s": {"unit": "V", "resolution": 0.1, "range": [-10, 50]}}}
    )
    texts = []
    for values in ("1.5", "-9.9\n49"):
        (tmp_path / "t.csv").write_text("s\n" + values + "\n")
        texts.append(dbc_text(convert(tmp_path / "t.csv", mapping)))
    assert texts[0] == texts[1]
    assert "[-10|50]" in texts[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[signals.S]", "give either time (a column) or rate_hz"),
        ('[table]\nrate_hz = 1\ntime = "t"\n[signals.S]', "give either time (a column) or rate_hz"),
        ("[table]\nrate_hz = 1", "name at least one signal"),
        ("[table]\nrate_hz = 0\n[signals.S]", "table.rate_hz: 0: must be more than 0"),
        ("[table]\nrat_hz = 1\n[signals.S]", "unknown key table.rat_hz; did you mean rate_hz?"),
        ("[table]\nrate_hz = 1\n[signals.S]\nfactor = 2", "unknown key signals.S.factor; known are"),
        ("[table]\nrate_hz = 1\n[signals.S]\nscale = 0", "signals.S.scale: 0 leaves nothing"),
        ('[table]\nrate_hz = 1\n[signals."a b"]', "signals.a b: a signal's name has letters"),
        ('[table]\nrate_hz = 1\nstart = "soon"\n[signals.S]', "table.start: 'soon' is no time"),
        ('[table]\nrate_hz = 1\nseparator = "::"\n[signals.S]', "table.separator: '::' is neither"),
        ("signals =", "not TOML"),
        ("[table]\nrate_hz = 1\n[signals.S]\nrange = 3", "signals.S.range: 3 is not [lowest, highest]"),
        ("[table]\nrate_hz = 1\n[signals.S]\nrange = [3, 2]", "signals.S.range: 3 is more than 2"),
        ('[table]\nrate_hz = 1\n[signals.S]\nunit = "a\\"b"', "is no text of one line"),
    ],
)
def test_a_mistake_in_the_mapping_is_named(tmp_path, text, says):
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(MappingError) as caught:
        load_mapping(path)
    assert says in str(caught.value)
    assert "map.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "signal", "says"),
    [
        ("t,s\n0,1\n", "[signals.X]", "signals.X.column: "),
        ("t,s\n0,warm\n", "[signals.s]", "row 1: s is 'warm', which is no number"),
        ("t,s\n0,1,2\n", "[signals.s]", "line 2 has 3 cells, and there are 2 columns"),
        ("t,s\n,1\n", "[signals.s]", "row 1 has no t, which is its time"),
        ("t,s\n", "[signals.s]", "has no row"),
        (
            "t,s\n0,0\n1,1e12\n",
            "[signals.s]\nresolution = 0.1",
            "more than 32 bits; give signals.s a coarser resolution",
        ),
        ("t,s\n-1e12,0\n", "[signals.s]", "are none of a log"),
        ("t,s\n0,5\n", "[signals.s]\nrange = [0, 4]", "s goes from 5 to 5, beyond signals.s.range"),
    ],
)
def test_a_table_that_cannot_be_converted_says_where(tmp_path, capsys, table, signal, says):
    (tmp_path / "stand.csv").write_text(table)
    (tmp_path / "map.toml").write_text(f'[table]\ntime = "t"\n{signal}')
    assert converted(tmp_path) == 1
    assert says in capsys.readouterr().err


@given(seed=st.integers(0, 1 << 32))
def test_whatever_a_mapping_holds_it_is_read_or_refused_by_name(seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("mapping") / "map.toml"
    path.write_bytes(damaged(MAPPING.encode(), seed, TOML_TOKENS))
    try:
        read = load_mapping(path)
    except MappingError as error:
        read = str(error)
    assert isinstance(read, TableMapping) or read.startswith(str(path))


@given(st.text(alphabet='0123456789,.;e-\n\t "x', max_size=60))
def test_whatever_a_table_holds_it_is_converted_or_refused(text):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("a,b\n" + text)
        mapping = parse_mapping({"table": {"time": "a"}, "signals": {"b": {}}})
        try:
            found = convert(path, mapping)
        except (TableError, MappingError):
            return
        assert len(list(log_lines(found))) == len(found.times_us)
        assert math.isfinite(found.messages[0].signals[0].factor)


def test_engines_of_the_data_folder_convert_to_the_bit(tmp_path):
    table = recording("cmapss/train_FD001.txt")
    columns = ["unit", "cycle", *(f"setting{n}" for n in (1, 2, 3)), *(f"s{n}" for n in range(1, 22))]
    signals = {f"Sensor{n}": {"column": f"s{n}", "unit": "1"} for n in range(1, 22)}
    mapping = parse_mapping(
        {"table": {"columns": columns, "time": "cycle", "where": {"unit": 7}}, "signals": signals}
    )
    found = convert(table, mapping)
    rows = [line.split() for line in table.read_text().splitlines() if line.split()[0] == "7"]
    assert len(found.times_us) == len(rows)
    for message in found.messages:
        for one in message.signals:
            column = columns.index(one.signal.column)
            decoded = one.counts * one.factor + one.offset
            np.testing.assert_allclose(decoded, [float(row[column]) for row in rows], rtol=1e-12)
