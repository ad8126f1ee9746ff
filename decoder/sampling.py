"""The kernels of the sampler: frames in, ticks out. Rules of `decoder.kernels`.

Rules
- A tick closes when a frame stamped after it arrives, or when the caller says that time has passed it. So what a tick
  holds depends on the order of the frames alone, not on how they are cut into calls.
- Lazy: a frame only leaves its payload behind, and the newest payload of each message is decoded when a tick closes.
  One with another page (another path) does not replace the one before, which is decoded first.
- Time never runs backward: a frame stamped before another counts as stamped with it. Only when STEP_FRAMES frames in a
  row lie STEP_NS or more behind, the clock that stamped them has been set back: time goes on from where it was. If no
  tick was closed yet, it was the first stamps that were wrong: time begins again where the frames are.
- Nor does it run LEAP_NS ahead because one frame says so: there the kernel stops and leaves it to its caller.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from codec.kernel import entry, kernel
from codec.records import Availability
from codec.schema import NS
from codec.signature import I32, I64, U8, I32x2, I64x2, U8x2, U64x2
from decoder.kernels import outside, raw_bits, raw_value, whole_value
from decoder.tables import (
    BIG_ENDIAN,
    CODES_END,
    CODES_FIRST,
    COLUMN,
    DOWN,
    END_BYTE,
    FLOAT16,
    FLOOR,
    FORM,
    SPILL,
    UP,
    WORD,
    Tables,
)

STEP_NS = 10 * NS  # farther behind than any merging of buses or buffering of a driver puts a frame
STEP_FRAMES = 16
LEAP_NS = 86_400 * NS  # farther ahead than a vehicle stands still between two trips of a log, as a rule
TIME_NS_MAX = (1 << 62) - 1  # 146 years; beyond are stamps that no clock gave, and the end of int64
LEARNED_MAX_NS = 60 * NS  # nothing counts as fresh for longer, unless the DBC or the configuration says so
CYCLES_MISSED = 5

# Cells of `State.clock`.
(
    PERIOD_NS,
    PARK_NS,
    RUNNING,
    NEXT_TICK,
    NOW,
    SET_BACK_NS,
    BEHIND,
    PENDING,
    LATE,
    STEPS,
    AT_FRAME,
    TOLD,
    BEGUN,
    LEAPS,
    CLOCK_CELLS,
) = range(15)
# Columns of `State.signals`: count, state, time of the newest frame that carried it, learned cycle, timeout, and how
# long a learned timeout may become (0: the timeout is fixed).
COUNT, STATE, SEEN, CYCLE, TIMEOUT, LEARNED_MAX, SIGNAL_COLUMNS = range(7)
# Columns of `State.latches`: length of the newest payload or -1, and when it came.
PAYLOAD_BYTES, CAME, LATCH_COLUMNS = range(3)
BEFORE_ALL = -(1 << 62)

_AVAILABLE = int(Availability.AVAILABLE)
_NEVER_SEEN = int(Availability.NEVER_SEEN)
_STALE = int(Availability.STALE)
_NOT_AVAILABLE = int(Availability.NOT_AVAILABLE)


class State(NamedTuple):
    """What the sampler remembers. All integers are int64 unless said otherwise."""

    clock: I64  # [CLOCK_CELLS]
    signals: I64x2  # [columns, SIGNAL_COLUMNS]
    latches: I64x2  # [messages, LATCH_COLUMNS]
    payloads: U64x2  # [messages, 8]: newest payload of each message
    pending: I64  # [messages + 1]: those whose payload is not decoded yet, as they came
    paths: I32x2  # [messages, most nodes of any path]: how to decode it


class Ticks(NamedTuple):
    """Room for n closed ticks."""

    ticks: I64  # [n]
    counts: I64x2  # [n, columns]
    states: U8x2  # [n, columns]


@kernel
def decode_latched(first: int, end: int, t: Tables, s: State) -> None:
    """Decode the newest payloads of pending[first:end] into the signals."""
    nodes, rows, limits, bounds, codes = t.nodes, t.rows, t.limits, t.bounds, t.codes
    signals, paths, payloads, latches = s.signals, s.paths, s.payloads, s.latches
    for p in range(first, end):
        message = s.pending[p]
        length, time_ns = latches[message, PAYLOAD_BYTES], latches[message, CAME]
        latches[message, PAYLOAD_BYTES] = -1
        for at in range(paths.shape[1]):
            node = np.int64(paths[message, at])
            if node < 0:
                break
            for r in range(nodes[node, 0], nodes[node, 1]):
                column = rows[r, COLUMN]
                if signals[column, STATE] != _NEVER_SEEN:
                    interval = min(time_ns - signals[column, SEEN], LEARNED_MAX_NS)
                    cycle = signals[column, CYCLE]
                    signals[column, CYCLE] = cycle + ((interval - cycle) >> 2) if cycle else interval
                signals[column, SEEN] = time_ns
                signals[column, STATE] = _NOT_AVAILABLE
                if rows[r, END_BYTE] > length:
                    continue
                word, spill, form, down = rows[r, WORD], rows[r, SPILL], rows[r, FORM], rows[r, DOWN]
                second = payloads[message, word + 1] if spill else np.uint64(0)
                bits = raw_bits(
                    payloads[message, word], second, rows[r, BIG_ENDIAN], rows[r, UP], spill, down
                )
                raw = raw_value(bits, form, down)
                absent = outside(bits, raw, limits[column, FLOOR], bounds[column, 0], bounds[column, 1])
                for code in range(limits[column, CODES_FIRST], limits[column, CODES_END]):
                    absent = absent or codes[code] == bits
                if absent:
                    continue
                signals[column, STATE] = _AVAILABLE
                if form == FLOAT16:
                    signals[column, COUNT] = np.int64(np.float32(raw).view(np.uint32))
                else:
                    signals[column, COUNT] = whole_value(bits, form, down)


@entry
def close_ticks(before_ns: int, t: Tables, s: State, out: Ticks, at: int) -> Any:
    """Close all ticks earlier than `before_ns`, into `out` from `at`; returns the next `at`. Stops where `out` is full."""
    clock, signals = s.clock, s.signals
    ticks, counts, states = out.ticks, out.counts, out.states
    while clock[RUNNING] and clock[NEXT_TICK] * clock[PERIOD_NS] < before_ns and at < ticks.size:
        time_ns = clock[NEXT_TICK] * clock[PERIOD_NS]
        if time_ns > clock[NOW] + clock[PARK_NS]:
            clock[RUNNING] = 0  # parked: no more ticks until a frame comes
            break
        decode_latched(0, clock[PENDING], t, s)
        clock[PENDING] = 0
        clock[BEGUN] = 1
        ticks[at] = clock[NEXT_TICK]
        for column in range(signals.shape[0]):
            state = signals[column, STATE]
            if state != _NEVER_SEEN:
                timeout = min(CYCLES_MISSED * signals[column, CYCLE], signals[column, LEARNED_MAX])
                if time_ns - signals[column, SEEN] > max(timeout, signals[column, TIMEOUT]):
                    state = _STALE
            states[at, column] = state
            counts[at, column] = signals[column, COUNT] if state == _AVAILABLE else 0
        at += 1
        clock[NEXT_TICK] += 1
    return at


@kernel
def judge_clock(stamp_ns: int, time_ns: int, s: State) -> None:
    """Whether the clock that stamps frames was set back; a frame has come that it stamped `stamp_ns`."""
    clock, signals, latches = s.clock, s.signals, s.latches
    behind = clock[NOW] != BEFORE_ALL and clock[NOW] - time_ns >= STEP_NS
    clock[BEHIND] = clock[BEHIND] + 1 if behind else 0
    if clock[BEHIND] < STEP_FRAMES:
        return
    clock[BEHIND] = 0
    clock[STEPS] += 1
    if clock[BEGUN]:
        clock[SET_BACK_NS] = clock[NOW] - stamp_ns
        return
    clock[NOW], clock[RUNNING], clock[NEXT_TICK] = time_ns, 0, BEFORE_ALL // clock[PERIOD_NS]
    for message in range(latches.shape[0]):
        latches[message, CAME] = min(latches[message, CAME], time_ns)
    for column in range(signals.shape[0]):
        signals[column, SEEN] = min(signals[column, SEEN], time_ns)


@entry
def take_frames(
    first: int,
    believed: int,
    timestamps_ns: I64,
    lengths: U8,
    words: U64x2,
    matched: I32,
    paths: I32x2,
    t: Tables,
    s: State,
    out: Ticks,
    at: int,
) -> Any:
    """Take frames from `first` on, closing ticks into `out` from `at`; returns the next `at`.

    clock[AT_FRAME] is where it stopped: at a frame that closes more ticks than `out` has room for, at one that leaps
    (clock[LEAPS]; those before `believed` may), or at the end.
    """
    clock, pending, latches, payloads, latched_paths = s.clock, s.pending, s.latches, s.payloads, s.paths
    period_ns = clock[PERIOD_NS]
    clock[LEAPS] = 0
    for i in range(first, timestamps_ns.size):
        clock[AT_FRAME] = i
        message = np.int64(matched[i])
        if message < 0:
            continue
        time_ns = min(timestamps_ns[i], TIME_NS_MAX - clock[SET_BACK_NS]) + clock[SET_BACK_NS]
        if i >= believed and clock[NOW] != BEFORE_ALL and time_ns - max(clock[NOW], clock[TOLD]) > LEAP_NS:
            clock[LEAPS] = 1
            return at
        if clock[RUNNING] and clock[NEXT_TICK] * period_ns < time_ns:
            at = close_ticks(time_ns, t, s, out, at)
            if clock[RUNNING] and clock[NEXT_TICK] * period_ns < time_ns:
                return at
        judge_clock(timestamps_ns[i], time_ns, s)
        if time_ns <= (clock[NEXT_TICK] - 1) * period_ns:
            clock[LATE] += 1
        clock[NOW] = max(clock[NOW], time_ns)
        if not clock[RUNNING]:
            clock[RUNNING] = 1
            clock[NEXT_TICK] = max(clock[NEXT_TICK], -(-clock[NOW] // period_ns))
        if paths[i, 0] < 0:
            continue
        if latches[message, PAYLOAD_BYTES] < 0:
            pending[clock[PENDING]] = message
            clock[PENDING] += 1
        else:
            same_page = True
            for node in range(paths.shape[1]):
                same_page &= latched_paths[message, node] == paths[i, node]
            if not same_page:
                pending[clock[PENDING]] = message  # for once: it stays where it is in the list
                decode_latched(clock[PENDING], clock[PENDING] + 1, t, s)
        latches[message, PAYLOAD_BYTES] = np.int64(lengths[i])
        latches[message, CAME] = clock[NOW]
        for node in range(paths.shape[1]):
            latched_paths[message, node] = paths[i, node]
        for word in range(words.shape[1]):
            payloads[message, word] = words[i, word]
    clock[AT_FRAME] = timestamps_ns.size
    return at
