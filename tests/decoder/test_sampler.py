"""The sampler, rule by rule; then against a model that is slow and obvious, however the frames are cut."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.records import Availability, concatenate
from decoder.defaults import default_choices
from decoder.frames import Frames
from decoder.plan import SignalChoice, build_plan
from decoder.sampler import Sampler, sample_log
from decoder.tables import frame_key
from tests.decoder import dbc_writer

S = 1_000_000_000
A, NEVER, STALE, NOT = Availability
BUS = dbc_writer.bus(
    "BO_ 1 Plain: 8 X", ' SG_ Speed : 0|16@1+ (0.1,0) [0|250] "km/h" X', ' SG_ Torque : 16|12@1- (1,0) [0|0] "Nm" X',
    "BO_ 2 Pages: 8 X", ' SG_ Page M : 0|8@1+ (1,0) [0|0] "" X', ' SG_ One m1 : 8|8@1+ (1,0) [0|0] "" X', ' SG_ Two m2 : 8|8@1+ (1,0) [0|0] "" X',
    "BO_ 3 Floats: 20 X", ' SG_ Half : 0|16@1- (1,0) [0|0] "" X', ' SG_ Float : 16|32@1- (1,0) [0|0] "" X', ' SG_ Double : 64|64@1- (1,0) [0|0] "" X',
    ' SG_ Wide : 0|64@1+ (1,0) [0|0] "" X', "SIG_VALTYPE_ 3 Half : 1;", "SIG_VALTYPE_ 3 Float : 1;", "SIG_VALTYPE_ 3 Double : 2;",
    'VAL_ 1 Speed 65535 "SNA" 65534 "Error" ;',
)  # fmt: skip


def plan(*names: str, **settings: object):
    chosen = [choice for choice in default_choices([BUS]) if not names or choice.name in names]
    return build_plan(
        [BUS], [SignalChoice(c.name, c.bus, c.message, c.signal, **settings) for c in chosen], rate_hz=50
    )


def sampled(sampler: Sampler, frames: Frames, until_s: float | None = None):
    """(tick, counts, states) of each record."""
    sampler.feed(frames)
    runs = sampler.advance(None if until_s is None else round(until_s * S))
    return [
        (run.first_tick + i, run.counts[i].tolist(), run.states[i].tolist())
        for run in runs
        for i in range(len(run))
    ]


class TestTicks:
    def test_a_record_takes_the_frames_stamped_at_its_tick_or_before(self):
        frames = dbc_writer.frames(
            (0.980, 1, "0100"), (1.000, 1, "0200"), (1.0000001, 1, "0300"), (1.020, 1, "0400")
        )
        records = sampled(Sampler(plan("Speed")), frames, 1.02)
        assert records == [(49, [1], [A]), (50, [2], [A]), (51, [4], [A])]

    def test_nothing_before_the_first_frame_and_no_tick_before_time_has_passed_it(self):
        sampler = Sampler(plan("Speed"))
        assert sampler.advance(5 * S) == []
        assert sampler.parked
        assert sampler.newest_ns is None
        assert sampled(sampler, dbc_writer.frames((10.001, 1, "0100"))) == []
        assert sampled(sampler, dbc_writer.frames((10.030, 1, "0200"))) == [(501, [1], [A])]
        assert sampler.newest_ns == 10_030_000_000
        assert not sampler.parked

    def test_silence_is_an_event_too(self):
        records = sampled(Sampler(plan("Speed")), dbc_writer.frames((0.1, 1, "0100")), 0.16)
        assert [tick for tick, _, _ in records] == [5, 6, 7, 8]

    def test_time_before_1970_is_time(self):
        records = sampled(
            Sampler(plan("Speed")), dbc_writer.frames((-0.05, 1, "0100"), (-0.01, 1, "0200")), 0
        )
        assert records == [(-2, [1], [A]), (-1, [1], [A]), (0, [2], [A])]

    def test_a_parked_vehicle_makes_no_records_until_it_wakes(self):
        sampler = Sampler(plan("Speed"), park_after_s=1)
        sampler.feed(dbc_writer.frames((0, 1, "0100"), (100.001, 1, "0200"), (100.03, 1, "0300")))
        runs = sampler.advance()
        assert [(run.first_tick, run.end_tick) for run in runs] == [(0, 51), (5001, 5002)]
        assert sampler.advance(200 * S)[0].end_tick == 100 * 50 + 52  # 1 s after 100.03
        assert sampler.parked

    def test_it_wakes_with_what_has_come_and_the_rest_stale(self):
        sampler = Sampler(plan("Speed", "Page"), park_after_s=1)
        sampler.feed(dbc_writer.frames((0, 1, "0100"), (0, 2, "0100"), (100, 1, "0200"), (100.01, 1, "0200")))
        last = sampler.advance(100 * S)[-1]
        assert last.counts[-1].tolist() == [2, 0]
        assert last.states[-1].tolist() == [A, STALE]

    def test_frames_of_other_messages_move_nothing_and_are_counted(self):
        sampler = Sampler(plan("Speed"))
        assert sampled(sampler, dbc_writer.frames((0, 99, "00"), (50, 2, "01"))) == []
        assert sampler.unknown_frames == 2


class TestBackwardTime:
    def test_a_late_frame_counts_at_the_next_tick_and_is_counted(self):
        sampler = Sampler(plan("Speed"))
        frames = dbc_writer.frames((1.0, 1, "0100"), (1.03, 1, "0200"), (1.01, 1, "0300"), (1.05, 1, "0400"))
        assert sampled(sampler, frames) == [(50, [1], [A]), (51, [1], [A]), (52, [3], [A])]
        assert sampler.late_frames == 1

    def test_so_does_one_that_comes_after_time_was_told_to_pass(self):
        sampler = Sampler(plan("Speed"))
        assert len(sampled(sampler, dbc_writer.frames((1.0, 1, "0100")), 1.1)) == 6
        assert sampled(sampler, dbc_writer.frames((1.05, 1, "0500")), 1.12) == [(56, [5], [A])]
        assert sampler.late_frames == 1

    def test_equal_stamps_keep_their_order(self):
        frames = dbc_writer.frames((1.0, 1, "0100"), (1.0, 1, "0200"), (1.0, 1, "0300"))
        assert sampled(Sampler(plan("Speed")), frames, 1.0) == [(50, [3], [A])]

    def test_one_old_frame_changes_no_clock(self):
        sampler = Sampler(plan("Speed"))
        frames = dbc_writer.frames(
            (1000, 1, "0100"), (3, 1, "0200"), (1000.03, 1, "0300"), (1000.05, 1, "0400")
        )
        assert [tick for tick, _, _ in sampled(sampler, frames)] == [50000, 50001, 50002]
        assert sampler.clock_steps == 0

    def test_a_clock_that_was_set_back_goes_on_from_where_time_was(self):
        sampler = Sampler(plan("Speed"))
        rows = [(1000 + i * 0.02, 1, "0100") for i in range(50)] + [
            (20 + i * 0.02, 1, "0200") for i in range(66)
        ]
        records = sampled(sampler, dbc_writer.frames(*rows))
        assert sampler.clock_steps == 1
        assert [tick for tick, _, _ in records] == list(range(50000, 50099))
        assert records[-1][1:] == ([2], [A])


YEAR_2100 = 4_102_444_800
DAYS = 86_400


class TestForwardTime:
    def test_one_frame_of_the_year_2100_counts_at_once_and_moves_nothing(self):
        sampler = Sampler(plan("Speed"))
        frames = dbc_writer.frames(
            (1.0, 1, "0100"), (YEAR_2100, 1, "0200"), (1.03, 1, "0300"), (1.05, 1, "0400")
        )
        assert sampled(sampler, frames) == [(50, [2], [A]), (51, [2], [A]), (52, [3], [A])]
        assert sampler.disbelieved_frames == 1
        assert sampler.newest_ns == 1_050_000_000

    def test_a_pause_of_days_is_believed_as_soon_as_16_frames_say_so_and_none_of_them_is_lost(self):
        sampler = Sampler(plan("Speed"))
        pause = [(3 * DAYS + i * 0.02, 1, f"{i:02X}00") for i in range(16)]
        assert len(sampled(sampler, dbc_writer.frames((1.0, 1, "0700"), *pause[:15]))) == 0
        assert sampler.disbelieved_frames == 15  # so far
        after = sampled(sampler, dbc_writer.frames(pause[15]))
        assert [tick for tick, _, _ in after] == [
            *range(50, 50 + 60 * 50 + 1),
            *range(3 * DAYS * 50, 3 * DAYS * 50 + 15),
        ]
        assert [counts[0] for _, counts, _ in after[-15:]] == list(range(15))
        assert sampler.disbelieved_frames == 0

    def test_whoever_tells_the_time_is_believed(self):
        sampler = Sampler(plan("Speed"))
        assert len(sampled(sampler, dbc_writer.frames((1.0, 1, "0100")), 3 * DAYS)) == 60 * 50 + 1
        assert sampled(sampler, dbc_writer.frames((3 * DAYS + 0.01, 1, "0200")), 3 * DAYS + 0.02) == [
            (3 * DAYS * 50 + 1, [2], [A])
        ]

    def test_if_the_first_stamps_are_wrong_time_begins_where_the_frames_are(self):
        sampler = Sampler(plan("Speed"))
        rows = [(YEAR_2100, 1, "0100"), *((5 + i * 0.02, 1, "0200") for i in range(200))]
        records = sampled(sampler, dbc_writer.frames(*rows))
        assert [tick for tick, _, _ in records] == list(range(250 + 15, 250 + 199))
        assert all(states == [A] for _, _, states in records)

    def test_a_clock_set_back_by_all_of_time_and_forward_again_stays_within_it(self):
        sampler = Sampler(plan("Speed"))
        rows = [
            (1, 1, "0100"),
            (2, 1, "0100"),
            *[(9e9, 1, "0100")] * 20,
            *[(-9e9, 1, "0100")] * 20,
            *[(9e9, 1, "0100")] * 40,
        ]
        records = sampled(sampler, dbc_writer.frames(*rows), 9e9)
        assert all(one[0] < other[0] for one, other in itertools.pairwise(records))


class TestAvailability:
    def test_never_seen_then_available_then_stale(self):
        records = sampled(Sampler(plan("Speed", "Page")), dbc_writer.frames((0, 1, "0700")), 2.06)
        assert records[0] == (0, [7, 0], [A, NEVER])
        assert records[100] == (100, [7, 0], [A, NEVER])
        assert records[101] == (101, [0, 0], [STALE, NEVER])

    def test_a_timeout_that_is_given_is_kept(self):
        records = sampled(Sampler(plan("Speed", timeout_s=0.05)), dbc_writer.frames((0, 1, "0700")), 0.1)
        assert [states for _, _, states in records] == [[A], [A], [A], [STALE], [STALE], [STALE]]

    def test_else_a_slow_message_is_given_5_of_its_own_cycles(self):
        rows = [(i * 3.0, 1, "0700") for i in range(5)]
        records = sampled(Sampler(plan("Speed"), park_after_s=100), dbc_writer.frames(*rows), 40)
        states = [states[0] for _, _, states in records]
        assert (
            states.count(STALE) == 50 - 1 + (40 - 12 - 15) * 50
        )  # in its first cycle, and long after the last

    @pytest.mark.parametrize("data", ["FFFF", "FEFF", "01"])
    def test_the_sender_or_a_short_frame_says_not_available(self, data):
        records = sampled(Sampler(plan("Speed")), dbc_writer.frames((0, 1, "0700"), (0.01, 1, data)), 0.02)
        assert records == [(0, [7], [A]), (1, [0], [NOT])]

    def test_values_outside_of_the_range_are_by_choice(self):
        frames = dbc_writer.frames((0, 1, "C509"))  # 250.1
        assert sampled(Sampler(plan("Speed")), frames, 0) == [(0, [2501], [A])]
        assert sampled(Sampler(plan("Speed", reject_outside=True)), frames, 0) == [(0, [0], [NOT])]

    def test_each_page_has_its_newest_payload(self):
        frames = dbc_writer.frames((0, 2, "0105"), (0.001, 2, "0206"), (0.002, 2, "0107"), (0.003, 2, "0508"))
        sampler = Sampler(plan("Page", "One", "Two"))
        assert sampled(sampler, frames, 0.02) == [(0, [1, 5, 0], [A, A, NEVER]), (1, [1, 7, 6], [A, A, A])]
        assert sampler.unknown_frames == 1  # page 5, of which the DBC knows nothing: nothing updates


class TestCounts:
    def test_scaled_signals_have_raw_integers(self):
        assert sampled(Sampler(plan("Speed", "Torque")), dbc_writer.frames((0, 1, "E803FF0F")), 0)[0][1] == [
            1000,
            -1,
        ]

    def test_floats_have_their_bits_and_wide_integers_theirs(self):
        data = "003E" + "0000803F" + "FFFF" + "000000000000F0BF"
        chosen = plan("Half", "Float", "Double", "Wide")
        (_, counts, states), *_ = sampled(Sampler(chosen), dbc_writer.frames((0, 3, data)), 0)
        assert states == [A, A, A, A]
        bits = {
            name: np.array([count], np.int64) for name, count in zip(chosen.schema.names, counts, strict=True)
        }
        assert bits["Half"].astype(np.uint32).view(np.float32) == 1.5  # widened to a float32
        assert bits["Float"].astype(np.uint32).view(np.float32) == 1.0
        assert bits["Double"].view(np.float64) == -1.0
        assert bits["Wide"].view(np.uint64) == 0xFFFF3F8000003E00

    def test_not_a_number_is_not_available(self):
        frames = dbc_writer.frames((0, 3, "007E" + "0000C07F" + "0000" + "000000000000F8FF"))
        assert sampled(Sampler(plan("Half", "Float", "Double")), frames, 0)[0][1:] == (
            [0, 0, 0],
            [NOT, NOT, NOT],
        )


def cut(frames: Frames, places: list[int]) -> list[Frames]:
    ends = sorted({place % (len(frames) + 1) for place in places} | {len(frames)})
    return [frames.take(slice(start, end)) for start, end in zip([0, *ends], ends, strict=False)]


STEPS_NS = st.one_of(
    st.integers(0, 30_000_000), st.just(0), st.just(20_000_000), st.integers(-50_000_000, 0), st.integers(0, 4 * S),
    st.sampled_from([70 * S, -15 * S, 25 * S]),
)  # fmt: skip
PAYLOADS = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"\x01\x05", b"\x02\x06", b"\xff\xff", b"\x03"])
)


@st.composite
def drives(draw: st.DrawFn) -> Frames:
    rows, now_ns = [], draw(st.integers(-S, 10 * S))
    for step_ns, frame_id, payload in draw(
        st.lists(st.tuples(STEPS_NS, st.sampled_from([1, 1, 2, 2, 3, 4]), PAYLOADS), max_size=60)
    ):
        now_ns += step_ns
        rows.append((now_ns, 0, frame_id, payload))
    return Frames.from_rows(rows)


@given(drives(), st.lists(st.integers(0, 100), max_size=8), st.booleans())
def test_the_records_are_the_same_however_the_frames_are_cut(frames, places, tells_time):
    whole, pieces = Sampler(plan()), Sampler(plan())
    whole.feed(frames)
    end_ns = (whole.newest_ns or 0) + 3 * S
    expected = whole.advance(end_ns)
    runs = []
    for piece in cut(frames, places):
        pieces.feed(piece)
        # Telling the time changes nothing, as long as no frame comes that is stamped before.
        runs += pieces.advance(pieces.newest_ns - 1 if tells_time and pieces.newest_ns is not None else None)
    runs = concatenate([*runs, *pieces.advance(end_ns)])
    assert len(runs) == len(expected)
    assert all(run.equals(other) for run, other in zip(runs, expected, strict=True))
    assert (pieces.late_frames, pieces.unknown_frames, pieces.clock_steps) == (
        whole.late_frames,
        whole.unknown_frames,
        whole.clock_steps,
    )
    ticks = [tick for run in expected for tick in range(run.first_tick, run.end_tick)]
    assert all(one < other for one, other in itertools.pairwise(ticks))


@given(drives(), st.lists(st.integers(0, 100), max_size=8), st.integers(1, 300))
def test_no_call_closes_more_ticks_than_it_may_and_the_records_are_the_same(frames, places, ticks_max):
    whole, bounded = Sampler(plan()), Sampler(plan())
    whole.feed(frames)
    end_ns = (whole.newest_ns or 0) + 3 * S
    runs = []
    for piece in cut(frames, places):
        at = 0
        while at < len(piece):
            at += bounded.feed(piece.take(slice(at, None)), ticks_max)
            runs.append(bounded.advance())
    while closed := bounded.advance(end_ns, ticks_max):
        runs.append(closed)
    assert all(sum(map(len, closed)) <= ticks_max for closed in runs)
    expected, got = concatenate(whole.advance(end_ns)), concatenate(itertools.chain(*runs))
    assert len(got) == len(expected)
    assert all(run.equals(other) for run, other in zip(got, expected, strict=True))


@given(
    drives(),
    st.dictionaries(st.integers(1, 60), st.integers(2, 50_000)),
    st.lists(st.integers(0, 100), max_size=8),
)
def test_stamps_far_ahead_count_as_the_newest_before_them_however_the_frames_are_cut(frames, wrong, places):
    frames = frames.take(frames.ids != 4).sorted_by_time()
    ahead, stamps = frames.timestamps_ns.copy(), frames.timestamps_ns.copy()
    for at, days in sorted(wrong.items()):
        # one that nothing comes after waits to the end, and of 16 in a row the last would be right
        if at < len(frames) - 1 and len([other for other in wrong if at - 15 < other <= at]) < 15:
            ahead[at] = stamps[:at].max() + days * DAYS * S
            stamps[at] = stamps[:at].max()
    wanted, sampler = Sampler(plan()), Sampler(plan())
    wanted.feed(replace(frames, timestamps_ns=stamps))
    end_ns = (wanted.newest_ns or 0) + S
    for piece in cut(replace(frames, timestamps_ns=ahead), places):
        sampler.feed(piece)
    expected, got = wanted.advance(end_ns), sampler.advance(end_ns)
    assert sampler.disbelieved_frames == np.count_nonzero(ahead != stamps)
    assert len(got) == len(expected)
    assert all(run.equals(other) for run, other in zip(got, expected, strict=True))


@given(drives())
def test_a_log_is_sampled_a_few_records_at_a_time(frames):
    whole = Sampler(plan())
    whole.feed(frames)
    expected = concatenate(whole.advance(whole.newest_ns))
    runs = list(sample_log(Sampler(plan()), frames))
    got = concatenate(runs)
    assert len(got) == len(expected)
    assert all(run.equals(other) for run, other in zip(got, expected, strict=True))


def modelled(frames: Frames, period_ns: int, until_ns: int):
    """Tick -> {signal: count or state}: every frame decoded by cantools when it comes, every tick looked at. Only for
    frames in the order of their stamps, without pauses to park in, and signals with fixed timeouts of 2 s."""
    messages = {frame_key(message): message for message in BUS.dbcs[0].messages}
    names = [choice.name for choice in default_choices([BUS])]
    values: dict[str, int | float | Availability] = {}
    seen: dict[str, int] = {}
    records, at = {}, 0
    stamps = frames.timestamps_ns.tolist()
    known = [i for i in range(len(frames)) if int(frames.ids[i]) in messages]
    if not known:
        return {}
    for tick in range(-(-stamps[known[0]] // period_ns), until_ns // period_ns + 1):
        while at < len(frames) and stamps[at] <= tick * period_ns:
            message = messages.get(int(frames.ids[at]))
            payload = frames.data[at, : frames.lengths[at]].tobytes()
            if message is not None:
                try:
                    raw = message.decode(payload, decode_choices=False, allow_truncated=True, scaling=False)
                except Exception:  # noqa: BLE001  cantools has no case for this page, or signals that overlap
                    raw = None
                for signal in message.signals if raw is not None else ():
                    if signal.multiplexer_signal is None or signal.name in raw:
                        values[signal.name] = (
                            NOT if raw.get(signal.name) in (None, 65535, 65534) else raw[signal.name]
                        )
                        seen[signal.name] = stamps[at]
            at += 1
        records[tick] = [
            NEVER if name not in seen else STALE if tick * period_ns - seen[name] > 2 * S else values[name]
            for name in names
        ]
    return records


@given(drives())
def test_the_records_are_those_of_a_model_that_is_slow_and_obvious(frames):
    frames = frames.take(frames.ids != 3).sorted_by_time()  # floats overlap there, and cantools takes no part
    gaps = Counter(np.diff(frames.timestamps_ns) > 50 * S)
    if gaps[True]:
        frames = frames.take(slice(0, int(np.argmax(np.diff(frames.timestamps_ns) > 50 * S)) + 1))
    fixed = plan(timeout_s=2.0)
    sampler = Sampler(fixed)
    sampler.feed(frames)
    end_ns = int(frames.timestamps_ns[-1]) + S if len(frames) else 0
    wanted = modelled(frames, fixed.schema.period_ns, end_ns)
    got = {}
    for run in sampler.advance(end_ns):
        for i in range(len(run)):
            got[run.first_tick + i] = [
                int(count) if state == A else Availability(state)
                for count, state in zip(run.counts[i], run.states[i], strict=True)
            ]
    assert got == wanted


def test_the_period_is_exact_at_any_rate():
    for rate_hz in (1, 50, 1000):
        period = Fraction(1, rate_hz)
        chosen = build_plan([BUS], [SignalChoice("Speed", 0, "Plain", "Speed")], rate_hz=rate_hz)
        start = 1_700_000_000
        records = sampled(Sampler(chosen), dbc_writer.frames((start, 1, "0100")), start + 3)
        assert [tick * period for tick, _, _ in records[::rate_hz]] == [
            start,
            start + 1,
            start + 2,
            start + 3,
        ]
