"""Laws of rules, on random rules and records: blocks may be cut anywhere, and compression changes no verdict."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.guards import Guard, GuardSet
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal
from codec.stream import StreamEncoder, StreamFacts
from codec.stream_decoder import StreamDecoder
from collector.rules import RuleState, bind, evaluate, evaluate_all
from collector.rules.rulefile import Rule, Rules

RATE_HZ = 10
SPANS_RECORDS_MAX = 120


@st.composite
def schemas(draw):
    """A temperature, a speed, an angle, a switch and a float, under random thresholds."""
    coarse = st.sampled_from([0.0, 0.4, 1.0, 2.0, 7.5])
    return Schema(
        RATE_HZ,
        (
            Signal(
                "Temp", factor=draw(st.sampled_from([0.5, 0.05, -0.1])), offset=-40.0, threshold=draw(coarse)
            ),
            Signal("Speed", threshold=draw(coarse)),
            Signal("Heading", circular=360.0, threshold=draw(coarse)),
            Signal("Gear", labels=((0, "P"), (1, "D"))),
            Signal("Flow", kind=Kind.FLOAT32, threshold=draw(coarse)),
        ),
    )


@st.composite
def drives(draw, schema):
    """Records that wander, jump and go missing, in physical ranges that limits lie in."""
    count = draw(st.integers(1, SPANS_RECORDS_MAX))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    pace = draw(st.sampled_from([0.2, 1.0, 5.0]))
    counts = np.zeros((count, 5), np.int64)
    walks = np.cumsum(random.normal(0, pace, (count, 5)), axis=0)
    for column, signal in enumerate(schema.signals):
        match signal.name:
            case "Gear":
                counts[:, column] = np.abs(np.round(walks[:, column] / 4)) % 2
            case "Flow":
                flow = walks[:, column].astype(np.float32)
                flow[random.random(count) < 0.05] = np.nan
                counts[:, column] = flow.view(np.uint32)
            case "Heading":
                counts[:, column] = np.round(walks[:, column] * 20) % 360
            case _:
                counts[:, column] = np.round((walks[:, column] + 10 - signal.offset) / signal.factor)
    states = np.zeros(counts.shape, np.uint8)
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 4))):
            at, length, column = (random.integers(count), random.integers(1, 15), random.integers(5))
            states[at : at + length, column] = random.integers(1, 4)
    counts[states != Availability.AVAILABLE] = 0
    return Records(draw(st.integers(-100, 100)), counts, states)


names = st.sampled_from(["Temp", "Speed", "Heading", "Gear", "Flow", "Unknown"])
operators = st.sampled_from([">", ">=", "<", "<=", "==", "!="])
limits = st.one_of(st.integers(-5, 30), st.floats(-5, 30).map(lambda x: round(x, 2)))
limit_texts = limits.map(lambda x: f"{x!r}")
lasting = st.sampled_from(["0.1s", "300ms", "1s", "2.5s"])
covered_leaves = st.one_of(
    st.builds("{} {} {}".format, names, operators, limit_texts),
    st.builds(
        "{} * {} + {} {} {}".format, st.sampled_from([2, -0.5, 4]), names, limits, operators, limit_texts
    ),
    st.builds("abs({}) {} {}".format, names, operators, st.integers(0, 30)),
    st.builds("max({}, {}) {} {}".format, names, names, st.sampled_from([">", "<="]), limit_texts),
    st.builds("missing({})".format, names),
    st.builds("stale({}, {})".format, names, lasting),
)
any_leaves = st.one_of(
    covered_leaves,
    st.builds("{}({}, {}) {} {}".format, st.sampled_from(["rate", "mean", "std", "min", "max"]), names, lasting, operators, limit_texts),
    st.builds("{} {} {} > {}".format, names, st.sampled_from("+-*/"), names, limit_texts),
    st.builds("max({0}, {2}) - min({0}, {2}) < {1}".format, names, limit_texts, lasting),
    st.builds("std({} - {}, {}) > {}".format, names, names, lasting, st.sampled_from([0, 1, 5])),
)  # fmt: skip


def conditions(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map("not ({})".format),
            st.builds("({}) and ({})".format, inner, inner),
            st.builds("({}) or ({})".format, inner, inner),
        ),
        max_leaves=4,
    )


def rules(leaves):
    one = st.builds(
        lambda when, clear, for_s: Rule("", when, "INFO", "d", clear=clear, for_s=for_s),
        conditions(leaves),
        st.one_of(st.just(""), conditions(leaves)),
        st.sampled_from([0.0, 0.1, 0.3, 1.0, 3.0]),
    )
    several = st.lists(one, min_size=1, max_size=4)
    return several.map(
        lambda found: Rules(tuple(replace(rule, code=f"R{i}") for i, rule in enumerate(found)))
    )


cuts = st.lists(st.integers(0, SPANS_RECORDS_MAX), max_size=6)


def cut(whole, at):
    edges = sorted({0, len(whole), *(one for one in at if one < len(whole))})
    return [whole.slice(a, b) for a, b in itertools.pairwise(edges)]


def told(found):
    return [(span, span.evidence) for span in sorted(found, key=lambda one: (one.code, one.first_tick))]


@given(st.data(), rules(any_leaves), cuts)
def test_where_blocks_are_cut_does_not_matter(data, file, at):
    schema = data.draw(schemas())
    whole = data.draw(drives(schema))
    expected = evaluate_all(file, schema, [(0, whole)])
    assert told(evaluate_all(file, schema, [(0, part) for part in cut(whole, at)])) == told(expected)


@given(st.data(), rules(any_leaves), cuts)
def test_a_restart_between_any_two_blocks_does_not_matter(data, file, at):
    """Of a state only what is written down remains; the records before are read again."""
    schema = data.draw(schemas())
    whole = data.draw(drives(schema))
    state, before, faults = RuleState(), [], {}
    bound = bind(file, schema)
    every = frozenset(bound.numbers)
    for part in cut(whole, at):
        state = RuleState.from_json(json.loads(json.dumps(state.to_json())))
        if state.lacks_tail(bound):
            state = state.with_tail(bound, before)
        changed, state = evaluate(bound, state, 0, part, every)
        before.append(part)
        for span in changed:
            key = span.code, span.first_tick
            faults[key] = span.after(faults.get(key))
    assert told(faults.values()) == told(evaluate_all(file, schema, [(0, whole)]))


@given(st.data(), rules(covered_leaves), cuts)
def test_verdicts_on_reconstructed_records_are_those_on_sampled_ones(data, file, at):
    schema = data.draw(schemas())
    others = data.draw(st.lists(st.builds(Guard, names, operators, limits.map(float)), max_size=5))
    guards = GuardSet((*file.guards().guards, *others))
    whole = data.draw(drives(schema))
    facts = StreamFacts(bytes(16), 0, whole.first_tick)
    encoder, decoder = StreamEncoder(schema, facts, guards=guards), StreamDecoder(schema, facts)
    sampled = cut(whole, at)
    blocks = [encoder.encode(part) for part in sampled]
    back = [decoder.decode(block.seq, block.content).records for block in blocks]
    assert bind(file, schema).exact_under(guards) == frozenset(bind(file, schema).numbers)
    expected, found = (evaluate_all(file, schema, [(0, part) for part in side]) for side in (sampled, back))
    assert [span.verdict for span in found] == [span.verdict for span in expected]
    assert not any(span.approximate for span in found)
