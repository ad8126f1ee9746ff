"""The stream: what opens, what order and time mean, and that cuts, restarts and hours between streams change nothing."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Availability, Records
from codec.schema import Schema, Signal
from collector.detectors.episodes import Episode
from collector.diagnosis import DiagnosisState, Stretch, advance, load_catalogue, watch, withdraw
from collector.rules import RuleState, bind, evaluate, load_rules

SCHEMA = Schema(10, (Signal("A"), Signal("B"), Signal("C")))
RULES = load_rules(
    """
[[rule]]
code = "HIGH_A"
when = "A > 5"
severity = "WARNING"
description = "a"
"""
)
TEXT = """
[[signature]]
code = "TOGETHER"
title = "A, then B"
within_s = 2
[[signature.part]]
name = "a"
fault = "HIGH_A"
required = true
[[signature.part]]
name = "b"
when = "B > 5"
for_s = 0.3
required = true
after = "a"
[[signature.part]]
name = "c"
when = "C > 5"
[[signature.cause]]
cause = "x"
base = 0.5
evidence = {c = 3}
"""
CATALOGUE = load_catalogue(TEXT)
FIRST = 1_700_000_000 * 10


def records(a: str, b: str, c: str = "", *, first_tick: int = FIRST) -> Records:
    """One character a tick: `#` is high, `?` not available, anything else low."""
    count = max(map(len, (a, b, c)))
    columns = [list(text.ljust(count, ".")) for text in (a, b, c)]
    counts = np.array([[9 if one == "#" else 0 for one in column] for column in columns], np.int64).T
    states = np.array(
        [[Availability.NOT_AVAILABLE if one == "?" else 0 for one in column] for column in columns], np.uint8
    ).T
    return Records(first_tick, np.ascontiguousarray(counts), np.ascontiguousarray(states))


class Bench:
    """Rules and diagnosis over blocks, as the collector has them."""

    def __init__(self, catalogue=CATALOGUE) -> None:
        self.catalogue = catalogue
        self.rules = watch.with_conditions(RULES, catalogue)
        self.bound = bind(self.rules, SCHEMA)
        self.needed = watch.columns(self.rules, catalogue, SCHEMA)
        self.rule_state, self.state = RuleState(), DiagnosisState()
        self.found = {}

    def take(self, block: Records, stream_no: int = 0, offset_ns: int = 0, episodes=()) -> None:
        spans, self.rule_state = evaluate(self.bound, self.rule_state, stream_no, block, frozenset())
        stretch = Stretch(stream_no, SCHEMA.period_ns, offset_ns, block.first_tick, block.end_tick)
        events = watch.events(self.catalogue, self.state, (spans, episodes), self.rule_state, stretch)
        changed, self.state = advance(
            self.catalogue, self.state, stretch, events, watch.told(self.needed, block)
        )
        for one in changed:
            self.found[one.finding.code, one.finding.stream_no, one.finding.tick] = one

    def restart(self) -> None:
        self.state = DiagnosisState.from_json(json.loads(json.dumps(self.state.to_json())))
        self.rule_state = RuleState.from_json(json.loads(json.dumps(self.rule_state.to_json())))

    @property
    def opened(self) -> list[int]:
        return [tick - FIRST for _, _, tick in self.found]


def run(*texts: str) -> Bench:
    bench = Bench()
    bench.take(records(*texts))
    return bench


def test_it_opens_where_the_last_required_part_is_known():
    bench = run("..######....", "....#####...")
    assert bench.opened == [7]  # B has lasted 0.3 s
    (one,) = bench.found.values()
    assert one.finding.seen.keys() == {"a", "b"}
    assert one.finding.not_seen == ("c",)
    assert one.finding.seen["b"].values == {"B": 9.0}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("....######..", "..########.."),  # the wrong order
        ("..######....", "............"),  # one part only
        ("..####" + "." * 40, "." * 30 + "#####"),  # too far apart
    ],
)
def test_it_stays_shut(a, b):
    assert run(a, b).opened == []


def test_what_was_over_still_counts_within_the_time():
    assert run("..###" + "." * 30, "." * 12 + "######").opened == [15]


def test_it_ends_where_a_required_part_was_gone_for_longer():
    bench = run("..######" + "." * 40, "....#####" + "." * 40)
    (one,) = bench.found.values()
    assert one.end == (0, FIRST + 8)  # A's end; 2 s later it was over
    assert bench.state == DiagnosisState()


def test_it_says_where_it_was_last_seen_while_records_do_not_say_whether_it_is_over():
    bench = run("..######...", "....#####..")
    (one,) = bench.found.values()
    assert (one.end, one.finding.gone) == (None, (0, FIRST + 8))
    bench.restart()
    assert bench.state.findings["TOGETHER"].gone == (0, FIRST + 8)
    bench.take(records("####.", "####.", first_tick=FIRST + 11))
    (one,) = bench.found.values()
    assert (one.end, one.finding.gone) == (None, (0, FIRST + 15))
    assert run("..#########", "....#######").state.findings["TOGETHER"].gone is None


def test_a_part_that_comes_back_in_time_keeps_it_open_and_one_that_does_not_begins_another():
    again = "..####" + "." * 10 + "####"
    assert run(again + "." * 40, again + "." * 40).opened == [5]
    late = "..####" + "." * 30 + "####"
    assert run(late + "." * 40, late + "." * 40).opened == [5, 39]


def test_what_is_seen_later_is_added():
    bench = run("..#########....", "..##########...", "........#......")
    (one,) = bench.found.values()
    assert one.finding.seen.keys() == {"a", "b", "c"}
    assert one.finding.not_seen == ()
    cause = CATALOGUE.signatures[0].causes[0]
    assert cause.confidence(one.finding.seen, one.finding.not_seen) == pytest.approx(0.75)


def test_what_cannot_be_told_counts_neither_way():
    (one,) = run("..######....", "....#####...", "????????????").found.values()
    assert "c" not in one.finding.seen
    assert one.finding.not_seen == ()


def test_time_between_streams_is_the_wall_clocks():
    for pause_s, opened in ((1, 1), (60, 0)):
        bench = Bench()
        bench.take(records("..####....", ""))
        # The next boot counts its ticks from 1000.
        offset_ns = (FIRST + 10 - 1000) * SCHEMA.period_ns + pause_s * 1_000_000_000
        bench.take(records("", "..#####...", first_tick=1000), 1, offset_ns)
        assert len(bench.found) == opened


def test_a_clock_that_is_set_back_does_not_turn_time_around():
    bench = Bench()
    bench.take(records("..####....", ""))
    bench.take(records("", "..#####...", first_tick=1000), 1, 0)  # 1970
    assert len(bench.found) == 1


def test_a_signature_that_reads_differently_ends_its_diagnoses():
    bench = run("..##########", "..##########")
    changed = load_catalogue(TEXT.replace("within_s = 2", "within_s = 3"))
    (ended,), state = withdraw(changed, bench.state)
    assert ended.end_reason == "catalogue changed"
    assert state.findings == {}
    assert withdraw(CATALOGUE, bench.state) == ([], bench.state)


def test_a_fault_whose_rule_is_gone_does_not_stay_open_for_ever():
    bench = run("..##########", "..##########")
    bench.rule_state = RuleState(bench.rule_state.end, {})
    bench.take(records("." * 50, "." * 50, first_tick=FIRST + 12))
    (one,) = bench.found.values()
    assert one.end is not None
    assert bench.state == DiagnosisState()


def test_an_anomaly_is_a_part_like_others():
    catalogue = load_catalogue(TEXT.replace('when = "C > 5"', 'anomaly = "C"\nrequired = true'))
    bench = Bench(catalogue)
    episode = Episode("zscore", "C", 0, FIRST + 3, FIRST + 9, 42.0, 3.0)
    bench.take(records("..##########", "..##########").slice(0, 10), episodes=[episode])
    assert bench.opened == [5]  # B has lasted 0.3 s
    (one,) = bench.found.values()
    assert one.finding.seen["c"].peak == 42.0
    # Another stream: what was open in the one before was ended when it was recalled.
    bench.take(
        records("#" * 40, "#" * 40, first_tick=1000),
        1,
        (FIRST + 20 - 1000) * 10**8,
        [replace(episode, ended=True)],
    )
    (one,) = bench.found.values()
    assert one.end is not None


TEXTS = st.lists(
    st.tuples(st.sampled_from("#.?"), st.integers(1, 30)).map(lambda one: one[0] * one[1]), max_size=12
).map("".join)


@given(TEXTS, TEXTS, TEXTS, st.lists(st.integers(1, 200), max_size=12), st.booleans())
def test_the_same_comes_out_however_it_is_cut(a, b, c, cuts, restarted):
    whole = records(a + ".", b, c)
    once, often = Bench(), Bench()
    once.take(whole)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for start, stop in itertools.pairwise(places):
        often.take(whole.slice(start, stop))
        if restarted:
            often.restart()
    assert often.found == once.found
    assert often.state.findings == once.state.findings
