"""A log as a table of its signals."""

from __future__ import annotations

from importlib.resources import files

import cantools
import numpy as np
import pytest
from pyarrow import csv, parquet

from decoder.dbc import load
from replay_logs.decode import TableError, every_value, on_grid, write_table
from replay_logs.generate import candump_lines
from replay_logs.models import MODELS
from replay_logs.read import open_log
from replay_logs.recording import assign_dbcs, load_recording
from replay_logs.scenarios import DRIVES

DBC = str(files("replay_logs") / "car.dbc")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("decode") / "a.log"
    path.write_text("".join(candump_lines(MODELS["model-3"], DRIVES["city"], 1, 12)))
    return load_recording(open_log(path))


@pytest.fixture(scope="module")
def buses(recording):
    return assign_dbcs(recording, [load(DBC)])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_value_as_it_came(tmp_path, recording, buses, suffix):
    names, blocks = every_value(recording.frames, buses)
    path = tmp_path / f"out{suffix}"
    count = write_table(path, names, blocks)
    table = csv.read_csv(path) if suffix == ".csv" else parquet.read_table(path)
    assert count == table.num_rows == len(recording.frames)
    assert table.column_names == ["time_s", *names]
    database = cantools.database.load_file(DBC)
    rows = table.slice(3000, 60).to_pylist()
    for offset, row in enumerate(rows):
        frame = 3000 + offset
        identifier = int(recording.frames.ids[frame]) & 0x1FFFFFFF
        data = recording.frames.data[frame, : recording.frames.lengths[frame]].tobytes()
        expected = database.get_message_by_frame_id(identifier).decode(data)
        assert row.pop("time_s") == pytest.approx(recording.frames.timestamps_ns[frame] / 1e9, abs=1e-6)
        found = {name: value for name, value in row.items() if value is not None}
        numbers = {
            name: getattr(value, "value", value) for name, value in expected.items() if str(value) != "SNA"
        }
        assert found == pytest.approx(numbers)


def test_on_the_grid_every_signal_has_its_latest_value(recording, buses):
    names, blocks = on_grid(recording.frames, buses, 50)
    table = np.vstack(list(blocks))
    assert table.shape == (pytest.approx(12 * 50, abs=2), 1 + len(names))
    assert np.allclose(np.diff(table[:, 0]), 0.02, atol=1e-6)
    as_it_came, rows = every_value(recording.frames, buses)
    values = np.vstack(list(rows))
    for name in ("VehicleSpeed", "PackVoltage", "WheelSpeedRR", "BatteryTempMax"):
        column = values[:, 1 + as_it_came.index(name)]
        for tick in (200, 400, 599):
            before = column[(values[:, 0] <= table[tick, 0] + 1e-6) & ~np.isnan(column)]
            assert table[tick, 1 + names.index(name)] == before[-1]


def test_numbers_in_csv_have_no_tails(tmp_path):
    block = np.array([[1.5, 7 * 0.1, 0.0, np.nan, -37.7699218, 1e-300]])
    write_table(tmp_path / "a.csv", ["a", "b", "c", "d", "e"], iter([block]))
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "1.5,0.7,0,,-37.7699218,1e-300"


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "a.xlsx", ["a"], iter([]))


def test_more_signals_than_a_grid_holds_are_refused_and_every_value_is_written_all_the_same(
    recording, buses, monkeypatch
):
    monkeypatch.setattr("replay_logs.decode.SIGNALS_MAX", 3)
    with pytest.raises(
        TableError, match=r"signals occur, and a grid has room for 3: give fewer DBCs, or no --rate"
    ):
        on_grid(recording.frames, buses, 50)
    names, blocks = every_value(recording.frames, buses)
    assert len(names) > 3
    whole = np.vstack(list(blocks))
    monkeypatch.setattr("replay_logs.decode._CELLS", 1)
    assert np.array_equal(np.vstack(list(every_value(recording.frames, buses)[1])), whole, equal_nan=True)
