from __future__ import annotations

import json
import subprocess
import sys
import weakref
from dataclasses import replace
from datetime import timedelta

import asammdf
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from codec.schema import Kind, Schema, Signal
from collector import open_store
from collector.__main__ import main
from collector.export import job
from collector.reading.pieces import Piece
from collector.reading.vehicle import Series

RANGE = ("--from", "2023-11-14T22:13:20Z", "--to", "2023-11-15")


@pytest.fixture
def one(bench, connected):
    """20 records, a gap of 10, 10 more, and a float64 signal under another schema after half a second."""
    bench.take(connected.drive(20, step=0.1))
    connected.drive(10)
    bench.take(connected.gap(1, 1, 30), connected.drive(10, keyframe=True))
    connected.tick += 5
    connected.signals = Schema(
        10,
        (
            Signal("Temp", unit="degC", factor=0.1, offset=-0.7, threshold=0.5),
            Signal("Lat", unit="deg", kind=Kind.FLOAT64),
            Signal("Gear", labels=((0, "P"), (1, "D"), (2, "Reverse, slow"))),
        ),
    )
    bench.take(connected.schema, connected.run(), connected.drive(10, temp=21.3))
    return open_store(bench.path).vehicle("asset:one")


@pytest.fixture
def export(bench, one, tmp_path, capsys):
    def run(name, *arguments, status=0):
        path = tmp_path / name
        asked = ["export", "--vin", "asset:one", "--store", str(bench.path), "-o", str(path), *arguments]
        assert main(asked) == status
        told = capsys.readouterr()
        return told.err if status else path

    return run


def expected(one, **options):
    """(times, values) as the store gives them."""
    pieces = list(one.series(**options).pieces)
    times = np.concatenate([piece.times_ns for piece in pieces])
    return times, np.concatenate([piece.values for piece in pieces])  # noqa: PD011


def same_bits(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert np.array_equal(np.isnan(a), np.isnan(b))
    known = ~np.isnan(a)
    assert np.array_equal(a[known].view(np.int64), b[known].view(np.int64))


NAMES = ["Gear", "Lat", "Speed", "Temp"]
UNITS = {"Gear": "", "Lat": "deg", "Speed": "km/h", "Temp": "degC"}


def table_of(path):
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    with pa.ipc.open_file(path) as file:
        return file.read_all()


@pytest.mark.parametrize("name", ["drive.parquet", "drive.arrow"])
def test_parquet_and_arrow_hold_the_store_to_the_bit_with_units(one, export, name):
    table = table_of(export(name))
    times, values = expected(one)
    assert table.column_names == ["time", *NAMES]
    assert table.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert np.array_equal(table["time"].to_numpy().astype(np.int64), times)
    for k, column in enumerate(NAMES):
        same_bits(table[column].to_pandas().to_numpy(), values[:, k])
        assert table[column].null_count == np.isnan(values[:, k]).sum()
        metadata = table.schema.field(column).metadata
        assert metadata.get(b"unit", b"").decode() == UNITS[column]
    assert float(table.schema.field("Temp").metadata[b"threshold"]) == 0.5
    labels = [[0.0, "P"], [1.0, "D"], [2.0, "Reverse, slow"]]
    assert json.loads(table.schema.field("Gear").metadata[b"labels"]) == labels
    assert json.loads(table.schema.metadata[b"deadreckon"])["vin"] == "asset:one"
    assert table["Temp"].null_count == 15  # the gap, and what the restart took


@pytest.mark.parametrize("name", ["drive.parquet", "drive.arrow"])
def test_words_instead_of_numbers(export, name):
    words = table_of(export(name, "--words", "--signals", "Gear"))["Gear"].to_pylist()
    assert set(words) == {"D", None}


def test_csv_holds_the_store_to_the_bit_with_units_in_its_headings(one, export):
    path = export("drive.csv")
    table = csv.read_csv(path)
    times, values = expected(one)
    headings = ["Gear", "Lat [deg]", "Speed [km/h]", "Temp [degC]"]
    assert table.column_names == ["time", *headings]
    assert np.array_equal(pd.to_datetime(table["time"].to_pandas()).astype("int64").to_numpy(), times)
    for k, column in enumerate(headings):
        same_bits(table[column].to_pandas().to_numpy(), values[:, k])
    assert "D" in export("words.csv", "--words").read_text()


def test_mdf4_holds_the_store_to_the_bit_with_units_and_words(one, export):
    path = export("drive.mf4")
    times, values = expected(one)
    with asammdf.MDF(path) as file:
        start = file.header.start_time
        since_ns = (start - pd.Timestamp(0, tz="UTC").to_pydatetime()) // timedelta(microseconds=1) * 1000
        for k, name in enumerate(NAMES):
            signal = file.get(name, raw=True)
            assert np.array_equal(np.round(signal.timestamps * 1e9).astype(np.int64) + since_ns, times)
            same_bits(signal.samples, values[:, k])
            assert signal.unit == UNITS[name]
        assert file.get("Gear").samples[0] == b"D"


def test_a_range_a_rate_and_some_signals_in_the_order_that_was_asked(one, export):
    path = export("drive.parquet", "--signals", "Temp, Gear", "--rate", "2", *RANGE)
    table = table_of(path)
    times, values = expected(one, names=["Temp", "Gear"], rate_hz=2)
    assert table.column_names == ["time", "Temp", "Gear"]
    assert np.array_equal(table["time"].to_numpy().astype(np.int64), times)
    same_bits(table["Temp"].to_pandas().to_numpy(), values[:, 0])
    assert table_of(export("drive.parquet", "--fill-s", "0")).num_rows == 40 + 2 + 2


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("drive.xlsx", [], "what format?"),
        ("drive.csv", ["--signals", "temp"], "did you mean Temp?"),
        ("drive.csv", ["--signals", ","], "no signal is named"),
        (
            "drive.csv",
            ["--from", "2030-01-01"],
            "no record of that range is stored; stored are 2023-11-14T22:13:20.000Z to",
        ),
        ("drive.csv", ["--from", "soon"], "is no time"),
        ("none/drive.csv", [], "No such file or directory"),
    ],
)
def test_what_cannot_be_exported_is_said_and_leaves_nothing_behind(export, tmp_path, name, arguments, says):
    assert says in export(name, *arguments, status=1)
    assert [
        file.name for file in tmp_path.iterdir() if file.name != "store.db" and "store.db-" not in file.name
    ] == []


@pytest.mark.parametrize("kind", sorted(job.FORMATS))
def test_a_file_that_was_there_stays_until_the_new_one_is_whole(one, tmp_path, monkeypatch, kind):
    target = tmp_path / "drive"
    target.write_text("before")
    series = one.series()

    def broken():
        yield next(series.pieces)
        raise OSError("the disk went away")

    monkeypatch.setattr(job, "ROWS_MAX", 1)
    with pytest.raises(OSError, match="went away"):
        job.export(replace(series, pieces=broken()), target, kind)
    assert target.read_text() == "before"
    assert not list(tmp_path.glob(".drive*"))


@pytest.mark.parametrize(
    ("kind", "library"), [("mdf4", "asammdf"), ("parquet", "pyarrow"), ("csv", "pyarrow")]
)
def test_a_library_that_is_missing_is_named(one, tmp_path, kind, library):
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from collector.export import job\n"
        "from collector.reading.signals import QueryError\n"
        f"try: job._opener({kind!r})\n"
        "except QueryError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.startswith(
        f"{kind} needs {library}, which is missing: pip install --require-hashes -r requirements/reading.lock, "
        "where the sources are"
    )


@pytest.mark.parametrize("kind", sorted(job.FORMATS))
def test_no_more_than_a_batch_of_pieces_is_ever_held(one, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(job, "ROWS_MAX", 100)
    signals = one.signals()
    alive = []
    most = 0

    def pieces():
        nonlocal most
        for k in range(200):
            times = np.arange(10, dtype=np.int64) * 100 + k * 1000
            values = np.full((10, len(signals)), float(k))
            alive.append(weakref.ref(values))
            most = max(most, sum(ref() is not None for ref in alive))
            yield Piece(times, values, 100)

    done = job.export(Series("asset:one", signals, pieces(), ()), tmp_path / f"day.{kind}", kind)
    assert (done.rows, done.first_ns, done.last_ns) == (2000, 0, 199_900)
    assert most <= 12
