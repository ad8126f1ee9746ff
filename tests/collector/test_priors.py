"""`collector priors`: what is trained, what is refused, and what is told."""

from __future__ import annotations

import json

import pytest

from codec.priors import built_in
from collector.__main__ import main
from collector.priors import GROUPS_MIN, PAYS_WITHIN_H, Trained, is_worth_it, judged
from collector.store import open_store
from tests.e2e.pair import VIN, Agent, Collector, synchronise


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store with 16 keyframe groups of one vehicle."""
    folder = tmp_path_factory.mktemp("stored")
    agent, collector = Agent(folder, "a.db"), Collector(folder)
    agent.drive(1920)
    synchronise(agent, collector)
    agent.finish()
    collector.ledger.close()
    return collector.path


def run(*arguments):
    return main(["priors", *map(str, arguments)])


def test_what_is_trained_is_offered_once(stored, capsys):
    assert run("train", "--store", stored) == 0
    told = capsys.readouterr().out
    assert "fewer bytes than with the built-in prior" in told
    assert run("list", "--store", stored, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert f"offered to every vehicle when it connects next: {row['prior']}" in told
    assert f"{row['bytes'] + 60:,} bytes to send" in told
    assert row["saved_percent"] > 0
    assert run("train", "--vin", VIN, "--store", stored) == 0
    assert f"it is what is offered already: {row['prior']}" in capsys.readouterr().out


def test_too_little_is_not_learnt_from(stored, capsys):
    hours = (GROUPS_MIN - 1) * 120 / 50 / 3600
    assert run("train", "--hours", hours, "--store", stored) == 0
    assert f"{GROUPS_MIN - 1} keyframe groups are stored: too few" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--schema", "ff00ff00"], "no schema is named ff00ff00...; stored are "),
        (["--vin", "asset:nobody"], "no vehicle asset:nobody"),
        (["--hours", "0"], "--hours must be more than 0"),
    ],
)
def test_a_mistake_is_one_line(stored, capsys, arguments, why):
    assert run("train", *arguments, "--store", stored) == 1
    assert why in capsys.readouterr().err


def test_what_saves_nothing_or_too_little_is_not_offered(stored):
    other = open_store(stored).offered_prior(open_store(stored).streams()[0].schema)
    none = Trained(other, 1.0, 0.5, -0.01, -0.01, -100.0)
    assert not is_worth_it(none, built_in())
    assert list(judged(none, built_in()))[-1] == "not offered: it saves nothing"
    little = Trained(other, 1.0, 0.5, 0.001, 0.001, none.cost_bytes / (PAYS_WITHIN_H + 1))
    assert not is_worth_it(little, built_in())
    assert "takes longer than 24 h" in list(judged(little, built_in()))[-1]


def test_the_newest_groups_come_whole_and_oldest_first(stored):
    store = open_store(stored)
    schema = store.streams()[0].schema
    groups = store.newest_groups(schema.hash, 250)
    assert [group.records for group in groups] == [120, 120]
    assert groups[0].blocks[-1][0] + 1 == groups[1].blocks[0][0]
    assert groups[1].blocks[-1][0] == store.streams()[0].batches - 1


def test_the_parser_says_how_many_hours(stored):
    from collector.__main__ import build_parser

    assert build_parser().parse_args(["priors", "train"]).hours == 4.0
