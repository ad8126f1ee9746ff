"""The promise of the codec: the bound holds at every record, sides of guards and availability are exact."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import DamagedBlock, UnknownBlock
from codec.guards import Guard, GuardSet, limit_interval
from codec.layout import MODEL_NAMES
from codec.priors import built_in
from codec.records import Availability, Records
from codec.schema import Kind, Schema, Signal, physical
from codec.stream import BLOCK_RECORDS_MAX, Clock, StreamEncoder, StreamFacts, block_records_max, is_keyframe
from codec.stream_decoder import StreamDecoder
from tests.codec.strategies import guard_sets, records_of, schemas

FACTS = StreamFacts(b"stream-id-of-16b", 3, 1000, Clock(1_700_000_000_000_000_000, synchronised=True))


def assert_within_bound(schema: Schema, guards: GuardSet, sampled: Records, decoded: Records) -> None:
    assert decoded.first_tick == sampled.first_tick
    assert np.array_equal(decoded.states, sampled.states)
    for j, signal in enumerate(schema.signals):
        rows = sampled.states[:, j] == Availability.AVAILABLE
        wanted, found = sampled.counts[rows, j], decoded.counts[rows, j]
        if signal.kind is Kind.SCALED:
            error = np.abs(wanted - found)
            if signal.circular:
                error = np.minimum(error, np.abs(signal.turn_counts - error))
            assert np.all(error <= signal.max_error_counts), (signal, error.max())
        elif signal.threshold == 0:
            assert np.array_equal(wanted, found), signal
        else:
            same = wanted == found
            close = np.abs(physical(signal, wanted) - physical(signal, found)) <= signal.threshold
            assert np.all(same | close), signal
        for guard in guards.guards:
            if guard.signal == signal.name:
                interval = limit_interval(signal, guard.operator, guard.limit)
                assert np.array_equal(interval.holds(signal, wanted), interval.holds(signal, found)), guard


@st.composite
def runs(draw: st.DrawFn) -> tuple[Schema, GuardSet, list[tuple[Records, bool]]]:
    schema = draw(schemas())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tick, blocks = FACTS.origin_tick, []
    for _ in range(draw(st.integers(1, 4))):
        tick += draw(st.sampled_from([0, 0, 0, 7]))
        count = draw(st.sampled_from([1, 2, 3, 40, 150]))
        blocks.append((records_of(rng, schema, tick, count), draw(st.booleans())))
        tick += count
    return schema, draw(guard_sets(schema)), blocks


@given(runs())
def test_every_record_comes_back_within_its_bound_and_on_its_side_of_every_guard(
    case: tuple[Schema, GuardSet, list[tuple[Records, bool]]],
) -> None:
    schema, guards, blocks = case
    encoder, decoder = StreamEncoder(schema, FACTS, guards=guards), StreamDecoder(schema, FACTS)
    total = 0
    for k, (records, keyframe) in enumerate(blocks):
        block = encoder.encode(records, keyframe=keyframe)
        decoded = decoder.decode(block.seq, block.content)
        assert_within_bound(schema, guards, records, decoded.records)
        assert decoder.group_digest == encoder.group_digest
        assert is_keyframe(block.content) == block.keyframe == (keyframe or k == 0)
        if decoded.keyframe:
            assert decoded.keyframe.first_record == total
            assert decoded.keyframe.guards_hash == guards.hash
            assert decoded.keyframe.clock_offset_ns == FACTS.clock.offset_ns
        total += len(records)


@given(st.integers(0, 2**32 - 1), st.sampled_from(MODEL_NAMES))
def test_every_model_keeps_the_bound_when_it_is_forced(seed: int, model: str) -> None:
    rng = np.random.default_rng(seed)
    schema = Schema(
        50,
        (
            Signal("a", factor=0.1, threshold=float(rng.choice([0, 0.3, 2]))),
            Signal("b", factor=0.1, circular=360, threshold=1),
        ),
    )
    guards = GuardSet((Guard("a", ">", 0.5), Guard("b", "<", 0.3)))
    encoder = StreamEncoder(schema, FACTS, guards=guards, models=dict.fromkeys(schema.names, model))
    decoder = StreamDecoder(schema, FACTS)
    tick = FACTS.origin_tick
    for _ in range(3):
        walk = np.cumsum(rng.integers(-9, 10, (100, 2)), axis=0)
        records = Records(
            tick, np.stack([walk[:, 0], walk[:, 1] % 3600], axis=1), np.zeros((100, 2), np.uint8)
        )
        block = encoder.encode(records)
        assert block.models == (model, model)
        assert_within_bound(schema, guards, records, decoder.decode(block.seq, block.content).records)
        tick += 100


def drive(seconds: int = 60) -> tuple[Schema, Records]:
    t = np.arange(50 * seconds)
    speed = (600 + 400 * np.sin(t / 300)).astype(np.int64)
    heading = (t // 3) % 3600
    schema = Schema(
        50,
        (Signal("speed", factor=0.1, threshold=2), Signal("heading", factor=0.1, threshold=5, circular=360)),
    )
    return schema, Records(1000, np.stack([speed, heading], axis=1), np.zeros((len(t), 2), np.uint8))


def encoded_drive() -> tuple[Schema, Records, list[bytes]]:
    schema, records = drive()
    encoder = StreamEncoder(schema, FACTS)
    blocks = [
        encoder.encode(records.slice(k, k + 500), keyframe=k % 1500 == 0).content
        for k in range(0, len(records), 500)
    ]
    return schema, records, blocks


def test_a_smooth_drive_costs_a_few_bytes_a_block() -> None:
    _, _, blocks = encoded_drive()
    assert max(map(len, blocks)) < 60


def test_any_keyframe_can_be_decoded_first() -> None:
    schema, records, blocks = encoded_drive()
    decoder = StreamDecoder(schema, FACTS)
    decoded = [decoder.decode(seq, blocks[seq]).records for seq in (3, 4, 5)]
    assert_within_bound(schema, GuardSet(), records.slice(1500, 2000), decoded[0])
    assert decoded[-1].end_tick == records.end_tick


def test_a_block_out_of_order_is_refused_and_changes_nothing() -> None:
    schema, _, blocks = encoded_drive()
    decoder = StreamDecoder(schema, FACTS)
    decoder.decode(0, blocks[0])
    with pytest.raises(DamagedBlock, match="builds on block 1"):
        decoder.decode(2, blocks[2])
    decoder.decode(1, blocks[1])
    decoder.decode(2, blocks[2])


def test_a_block_of_another_stream_or_seq_does_not_pass_for_this_one() -> None:
    schema, _, blocks = encoded_drive()
    other = StreamFacts(b"another-id-of-16", 3, 1000, FACTS.clock)
    wrong = 0
    for facts, seq in [(other, 0), (FACTS, 3), (FACTS, 77)]:
        with pytest.raises(DamagedBlock, match="digest"):
            StreamDecoder(schema, facts).decode(seq, blocks[0])
        wrong += 1
    assert wrong == 3


@given(st.data())
def test_damaged_bytes_raise_one_error_and_change_nothing(data: st.DataObject) -> None:
    schema, records, blocks = encoded_drive()
    decoder = StreamDecoder(schema, FACTS)
    decoder.decode(0, blocks[0])
    broken = bytearray(blocks[1])
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoder.decode(1, bytes(broken))
    except (DamagedBlock, UnknownBlock):
        good = decoder.decode(1, blocks[1]).records
        assert_within_bound(schema, GuardSet(), records.slice(500, 1000), good)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_block_or_one_error(content: bytes) -> None:
    schema, _ = drive(1)
    try:
        decoded = StreamDecoder(schema, FACTS).decode(0, b"\x11" + content)
    except (DamagedBlock, UnknownBlock):
        return
    assert 1 <= len(decoded.records) <= BLOCK_RECORDS_MAX


def test_every_bit_of_a_keyframes_header_is_proven_by_its_digest() -> None:
    schema, _, blocks = encoded_drive()
    undetected = 0
    header = (
        2 + 2 + 2 + 2 + 1 + 4
    )  # version and digest; records, tick, missed; clock; digest of the group before
    for bit in range(16, 8 * header):
        broken = bytearray(blocks[3])
        broken[bit // 8] ^= 1 << bit % 8
        try:
            StreamDecoder(schema, FACTS).decode(3, bytes(broken))
            undetected += 1
        except DamagedBlock:
            pass
    assert undetected <= 3  # one byte of digest: one in 256


def test_ticks_that_no_clock_reaches_are_refused() -> None:
    schema, records = drive(1)
    block = StreamEncoder(schema, FACTS).encode(records)
    for origin in (-(2**63), 2**63 - 1):
        facts = StreamFacts(FACTS.stream_id, 3, origin, FACTS.clock)
        with pytest.raises(DamagedBlock, match="no clock"):
            StreamDecoder(schema, facts).decode(0, block.content)


def test_truncated_blocks_are_damaged() -> None:
    schema, _, blocks = encoded_drive()
    for size in range(len(blocks[0]) - 4):
        with pytest.raises(DamagedBlock):
            StreamDecoder(schema, FACTS).decode(0, blocks[0][:size])


def test_a_newer_version_is_unknown_not_damaged() -> None:
    schema, _, blocks = encoded_drive()
    with pytest.raises(UnknownBlock) as caught:
        StreamDecoder(schema, FACTS).decode(0, bytes((blocks[0][0] & 0xF0 | 2,)) + blocks[0][1:])
    assert caught.value.missing == ("version", 2)


def test_new_guards_and_clocks_come_with_a_keyframe_that_names_them() -> None:
    schema, records = drive(4)
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    decoder.decode(0, encoder.encode(records.slice(0, 50)).content)
    guards = GuardSet((Guard("speed", ">", 61.0),))
    encoder.set_guards(guards)
    clock = Clock(FACTS.clock.offset_ns + 5_000_000_000, synchronised=False)
    block = encoder.encode(records.slice(50, 100), clock=clock)
    keyframe = decoder.decode(1, block.content).keyframe
    assert keyframe is not None
    assert keyframe.guards_hash == guards.hash
    assert keyframe.first_record == 50
    assert (keyframe.clock_offset_ns, keyframe.clock_synchronised) == (clock.offset_ns, False)
    assert not encoder.encode(records.slice(100, 150)).keyframe


def test_a_keyframe_carries_the_digest_of_the_group_before() -> None:
    schema, records = drive(4)
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    for k in (0, 50):
        block = encoder.encode(records.slice(k, k + 50))
        decoder.decode(block.seq, block.content)
    before = decoder.group_digest
    block = encoder.encode(records.slice(100, 150), keyframe=True)
    keyframe = decoder.decode(block.seq, block.content).keyframe
    assert keyframe is not None
    assert keyframe.previous_digest == before


def test_a_missed_tick_costs_no_keyframe() -> None:
    schema, records = drive(4)
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    decoder.decode(0, encoder.encode(records.slice(0, 50)).content)
    block = encoder.encode(records.slice(60, 100))
    assert not block.keyframe
    assert decoder.decode(1, block.content).records.first_tick == records.first_tick + 60


def test_a_stream_that_another_run_began_can_be_finished() -> None:
    schema, records = drive(4)
    first = StreamEncoder(schema, FACTS)
    decoder = StreamDecoder(schema, FACTS)
    decoder.decode(0, first.encode(records.slice(0, 50)).content)
    second = StreamEncoder(schema, FACTS, next_seq=1, record_count=50)
    block = second.encode(records.slice(50, 75))
    decoded = decoder.decode(1, block.content)
    assert block.keyframe
    assert decoded.keyframe is not None
    assert decoded.keyframe.first_record == 50


def test_a_keyframe_holds_no_float_from_before_it() -> None:
    schema = Schema(
        50, (Signal("pressure", kind=Kind.FLOAT64, threshold=0.5), Signal("serial", kind=Kind.WIDE_SIGNED))
    )
    counts = np.stack([np.full(40, 7.25).view(np.int64), np.full(40, 1 << 60)], axis=1)
    records = Records(1000, counts, np.zeros(counts.shape, np.uint8))
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    for first in (0, 10, 20, 30):
        block = encoder.encode(records.slice(first, first + 10), keyframe=first == 20)
        assert decoder.decode(block.seq, block.content).records.equals(records.slice(first, first + 10))


def test_counts_too_large_for_their_kind_are_refused_by_name_and_change_nothing() -> None:
    schema = Schema(50, (Signal("small"), Signal("odometer")))
    encoder, decoder = StreamEncoder(schema, FACTS), StreamDecoder(schema, FACTS)
    states = np.zeros((2, 2), np.uint8)
    limit = 1 << 47
    for count in (limit + 1, -limit - 1, -(1 << 63)):
        with pytest.raises(ValueError, match="signal odometer: counts of more than 47 bits"):
            encoder.encode(Records(1000, np.array([[1, 2], [3, count]]), states))
    fits = Records(1000, np.array([[1, limit], [3, -limit]]), states)
    block = encoder.encode(fits)
    assert decoder.decode(block.seq, block.content).records.equals(fits)


def test_the_longest_block_of_any_schema_stays_below_4_mib_at_its_worst() -> None:
    rng = np.random.default_rng(1)
    schema = Schema(50, tuple(Signal(f"signal{k}", kind=Kind.WIDE_UNSIGNED) for k in range(800)))
    shape = (block_records_max(800), 800)
    counts = rng.integers(-(1 << 63), (1 << 63) - 1, shape)
    block = StreamEncoder(schema, FACTS).encode(Records(1000, counts, np.zeros(shape, np.uint8)))
    assert len(block.content) < 4 << 20
    with pytest.raises(AssertionError):
        StreamEncoder(schema, FACTS).encode(
            Records(1000, np.zeros((501, 800), np.int64), np.zeros((501, 800), np.uint8))
        )
    assert block_records_max(1) == BLOCK_RECORDS_MAX
    assert block_records_max(0) == BLOCK_RECORDS_MAX


def test_a_few_bytes_that_claim_more_values_than_a_block_may_hold_are_damage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schema = Schema(50, tuple(Signal(f"signal{k}") for k in range(2000)))
    monkeypatch.setattr("codec.stream.BLOCK_VALUES_MAX", 1 << 30)
    shape = (BLOCK_RECORDS_MAX, 2000)
    hostile = StreamEncoder(schema, FACTS).encode(
        Records(1000, np.zeros(shape, np.int64), np.zeros(shape, np.uint8))
    )
    monkeypatch.undo()
    assert len(hostile.content) < 2000
    with pytest.raises(DamagedBlock, match="4096 records of 2000 signals"):
        StreamDecoder(schema, FACTS).decode(0, hostile.content)


def test_a_group_ends_before_it_holds_more_than_a_reader_can_go_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schema = Schema(50, (Signal("one"), Signal("two")))
    run = [
        Records(1000 + 10 * k, np.full((10, 2), k, np.int64), np.zeros((10, 2), np.uint8)) for k in range(7)
    ]
    endless = StreamEncoder(schema, FACTS)
    contents = [endless.encode(records).content for records in run]
    monkeypatch.setattr("codec.stream.GROUP_VALUES_MAX", 60)
    monkeypatch.setattr("codec.stream_decoder.GROUP_VALUES_MAX", 60)
    encoder, decoder, other = (
        StreamEncoder(schema, FACTS),
        StreamDecoder(schema, FACTS),
        StreamDecoder(schema, FACTS),
    )
    blocks = [encoder.encode(records) for records in run]
    assert [block.keyframe for block in blocks] == [True, False, False, True, False, False, True]
    for records, block in zip(run, blocks, strict=True):
        assert decoder.decode(block.seq, block.content).records.equals(records)
    for seq in range(3):
        other.decode(seq, contents[seq])
    for _ in range(2):
        with pytest.raises(DamagedBlock):
            other.decode(3, contents[3])


def test_the_built_in_prior_has_no_name_whoever_read_it():
    """Two threads that begin at once may each have read it."""
    again = copy.copy(built_in())
    assert again is not built_in()
    records = Records(0, np.zeros((3, 1), np.int64), np.zeros((3, 1), np.uint8))
    schema = Schema(1, (Signal("a"),))
    facts = StreamFacts(bytes(16), 0, 0)
    block = StreamEncoder(schema, facts, prior=again).encode(records)
    assert block.content == StreamEncoder(schema, facts).encode(records).content
    assert StreamDecoder(schema, facts).decode(0, block.content).records.equals(records)
