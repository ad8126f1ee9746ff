"""`collector model` on a real store: trained, never overwritten, measured, listed, asked."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from codec.records import Records
from collector.__main__ import main
from collector.detectors.settings import DetectorSettings
from collector.models import ModelError, judged, load_detectors, read_model
from collector.times import NS
from tests.collector.vehicle import START_TICK, Bench, Vehicle


def temperatures(seconds: int, seed: int, *, faulty: range = range(0)) -> np.ndarray:
    """Counts at 10 Hz of Temp and Speed, which go together but where they are faulty."""
    random = np.random.default_rng(seed)
    speed = 1000 + 300 * np.sin(np.arange(seconds) / 40) + random.normal(0, 30, seconds)
    temp = 200 + (speed - 1000) / 10 + random.normal(0, 5, seconds)
    temp[faulty] = 320
    speed[faulty] = 500
    counts = np.column_stack([temp, speed, np.ones(seconds)]).round().astype(np.int64)
    return counts.repeat(10, axis=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of ten minutes; the last but one is faulty."""
    folder = tmp_path_factory.mktemp("models")
    bench, vehicle = Bench(folder / "store.db"), Vehicle()
    bench.take(vehicle.greeting, vehicle.schema, vehicle.run())
    counts = temperatures(600, 1, faulty=range(480, 540))
    for at in range(0, len(counts), 1000):
        part = counts[at : at + 1000]
        block = vehicle._encoder.encode(Records(vehicle.tick, part, np.zeros(part.shape, np.uint8)))
        vehicle.tick += len(part)
        from collector.items import BatchItem

        bench.take(BatchItem(vehicle.key, 0, block.seq, False, block.content))
    bench.ledger.close()
    return folder


def wall(second: int) -> str:
    from collector.times import to_text

    return to_text((START_TICK // 10 + second) * NS)


def asked(folder, *words: str) -> list[str]:
    where = {"train": ["--models", str(folder / "models"), "--store", str(folder / "store.db")]}
    where |= {"list": where["train"][:2], "evaluate": where["train"][2:], "predict": []}
    return ["model", words[0], *words[1:], *where[words[0]]]


@pytest.fixture(scope="module")
def model(folder):
    assert main(asked(folder, "train", "--name", "pack", "--to", wall(480))) == 0
    return str(folder / "models" / "pack-v1.forest")


def test_a_model_is_trained_on_what_all_streams_measure_and_says_so(folder, model, capsys):
    forest = read_model(folder / "models" / "pack-v1.forest")
    assert forest.signals == ("Temp", "Speed")  # Gear is a state
    assert forest.header.samples == 320
    assert forest.header.vehicles == ("asset:one",)
    assert main(asked(folder, "list", "--format", "json")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["signals"], row["trees"]) == ("pack-v1", "Temp, Speed", 100)
    assert row["sha256"] == (folder / "models" / "pack-v1.forest").read_bytes()[-32:].hex()


def test_the_next_one_of_its_name_is_the_next_version(folder, model, tmp_path, capsys):
    again = asked(folder, "train", "--name", "pack", "--signals", "Temp", "--smooth-s", "3")
    again[again.index("--models") + 1] = str(tmp_path)
    assert main(again) == 0
    assert main(again) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack-v1.forest", "pack-v2.forest"]
    assert "1 signal, 100 trees" in capsys.readouterr().out


def test_it_is_measured_on_what_is_known_to_be_faulty(folder, model, capsys):
    assert (
        main(
            asked(
                folder,
                "evaluate",
                model,
                "--faulty",
                wall(480),
                wall(540),
                "--from",
                wall(320),
                "--confidence",
                "0.995",
            )
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "280 seconds of 1 vehicle\n" in said
    assert "recall 1/1 = 1.00" in said
    assert "lead time until the end of a faulty stretch: median 60 s" in said


def test_precision_recall_and_lead_time_are_counted_by_what_touches():
    lines = list(
        judged(
            [(5 * NS, 6 * NS), (50 * NS, 50 * NS), (19 * NS, 30 * NS)],
            [(20 * NS, 40 * NS), (60 * NS, 70 * NS)],
        )
    )
    assert lines == [
        "precision 1/3 = 0.33",
        "recall 1/2 = 0.50",
        "lead time until the end of a faulty stretch: median 20 s, least 20 s",
    ]
    assert list(judged([], [(0, 1)])) == ["precision 0/0", "recall 0/1 = 0.00"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_sample_and_a_batch_are_judged_alike(folder, model, tmp_path, capsys, kind):
    samples = [{"Temp": 20.0, "Speed": 50.0}, {"Temp": 32.0, "Speed": 25.0}, {"Temp": None, "Speed": 25.0}]
    path = tmp_path / f"samples.{kind}"
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, ["Speed", "Temp", "other"])
        writer.writeheader()
        writer.writerows(samples)
        path.write_text(text.getvalue())
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(samples), path)
    assert main(asked(folder, "predict", model, "--file", str(path), "--format", "json")) == 0
    usual, strange, none = json.loads(capsys.readouterr().out)
    assert usual["confidence"] < 0.9 < strange["confidence"]
    assert strange["leading"] in {"Temp", "Speed"}
    assert none == {"score": None, "confidence": None, "leading": None}
    assert main(asked(folder, "predict", model, "--sample", json.dumps(samples[1]), "--format", "json")) == 0
    assert json.loads(capsys.readouterr().out) == [strange]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "--name", "a b"), "name 'a b': must be letters"),
        (
            ("train", "--name", "a", "--signals", "Tmp"),
            "signal Tmp is no measurement there; did you mean Temp?",
        ),
        (("train", "--name", "a", "--to", "2001-01-01"), "nothing is stored of asset:one in that range"),
        (("train", "--name", "a", "--vin", "asset:two"), "asset:two"),
        (("train", "--name", "a", "--trees", "0"), "--trees must be 1 to 1000"),
        (("train", "--name", "a", "--to", wall(20)), "too few to learn from, it takes 100"),
        (("evaluate", "nowhere.forest"), "nowhere.forest: cannot be read: No such file"),
        (("predict", "nowhere.forest", "--sample", "{}"), "nowhere.forest: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, model, capsys, words, says):
    assert main(asked(folder, *words)) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ("{", "the sample is not JSON"),
        ("[1]", "the sample must be an object"),
        ('{"Temp": 1}', "sample 1 has no signal Speed; pack-v1 takes Temp, Speed"),
        ('{"Temp": "warm", "Speed": 1}', "sample 1: Temp is 'warm', which is no number"),
    ],
)
def test_a_sample_that_is_none_is_named(folder, model, capsys, sample, says):
    assert main(asked(folder, "predict", model, "--sample", sample)) == 1
    assert says in capsys.readouterr().err


def test_the_collector_scores_with_models_that_it_can_read(folder, model, tmp_path):
    detectors = load_detectors(DetectorSettings(models=(model,)))
    assert "forest:pack-v1" in detectors.names
    broken = tmp_path / "x.forest"
    broken.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"x\.forest: is no model"):
        load_detectors(DetectorSettings(models=(str(broken),)))
