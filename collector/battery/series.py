"""Battery health as a stream over records: seconds in, estimates and state out.

Rules
- At most one estimate of a kind a minute, each over its own stretch of records, which no other of its kind shares.
- A new stream begins everything again but the trend: its schema may have other thresholds. What a stream's end leaves
  unfinished is dropped.
- The same estimates come out however the records are cut into blocks.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from collector.battery.capacity import Capacity, Counting, counted
from collector.battery.resistance import Resistance, Steps, due, resistance, stepped
from collector.battery.seconds import Filling, Second, cut
from collector.battery.trend import MINUTES_MIN, Trend, noted, slope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.battery.portion import Portion
    from collector.battery.roles import Battery

UNITS: Mapping[str, str] = {
    "resistance": "ohm", "capacity": "Ah", "ripple": "V", "imbalance": "mV", "imbalance_trend": "mV/day"
}  # fmt: skip
MINUTE_S = 60
MINUTE_S_MIN = 30  # known seconds that a minute needs
RIPPLE_BOUND_MAX = 0.005  # of the voltage: beyond, ripple is what the threshold made


@dataclass(frozen=True, slots=True)
class Estimate:
    """One row of `battery_health`: of records first_tick..tick of its stream. `n`: what it is made of."""

    kind: str
    stream_no: int
    first_tick: int
    tick: int
    value: float
    uncertainty: float
    n: int
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Minute:
    """Sums of known seconds: spread in uV and current in counts; voltage in counts; ripple as in `Second`."""

    first_tick: int
    seconds: int = 0
    voltage: int = 0
    current: int = 0  # of magnitudes
    ripple: tuple[int, int, int, int] = (0, 0, 0, 0)
    spread: tuple[int, int] = (0, 0)  # n, sum

    def to_json(self) -> list[Any]:
        return [self.first_tick, self.seconds, self.voltage, self.current, self.ripple, self.spread]

    @classmethod
    def from_json(cls, document: list[Any]) -> Minute:
        first_tick, seconds, voltage, current, ripple, spread = document
        return cls(first_tick, seconds, voltage, current, tuple(ripple), tuple(spread))


@dataclass(frozen=True, slots=True)
class BatteryState:
    """What one outbox's battery carries from block to block."""

    stream_no: int = -1
    filling: Filling | None = None
    second: Second | None = None  # the one before
    steps: Steps | None = None
    counting: Counting | None = None
    minute: Minute | None = None
    trend: Trend | None = None

    def to_text(self) -> str:
        return "" if self == _NOTHING else _write(self.to_json())

    @classmethod
    def from_text(cls, text: str) -> BatteryState:
        """Inverse of `to_text`."""
        return cls.from_json(json.loads(text)) if text else cls()

    def to_json(self) -> dict[str, Any]:
        second = self.second
        parts = {
            "filling": self.filling, "steps": self.steps, "counting": self.counting, "minute": self.minute,
            "trend": self.trend,
        }  # fmt: skip
        last = second and [second.tick, second.known, second.voltage, second.current, second.others]
        return {
            "stream_no": self.stream_no,
            "second": last,
            **{name: part and part.to_json() for name, part in parts.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BatteryState:
        def part(name: str, read: Callable[[Any], Any]) -> Any:
            return None if document[name] is None else read(document[name])

        return cls(
            int(document["stream_no"]),
            part("filling", Filling.from_json),
            part("second", lambda d: Second(d[0], bool(d[1]), d[2], d[3], 0, (0, 0, 0, 0), tuple(d[4]))),
            part("steps", Steps.from_json),
            part("counting", Counting.from_json),
            part("minute", Minute.from_json),
            part("trend", Trend.from_json),
        )


_NOTHING = BatteryState()
_write = json.JSONEncoder(separators=(",", ":")).encode


def advance(
    battery: Battery, state: BatteryState, stream_no: int, portion: Portion, wall_ns: Callable[[int], int]
) -> tuple[list[Estimate], BatteryState]:
    """Go on by one run of records. `wall_ns`: wall time of a tick of this stream, for the trend alone."""
    if state.stream_no != stream_no:
        state = BatteryState(stream_no, trend=state.trend)
    seconds, filling = cut(battery, state.filling, portion)
    estimates: list[Estimate] = []
    for second in seconds:
        some, state = _second(battery, state, second, wall_ns)
        estimates += some
    return estimates, replace(state, filling=filling)


def _second(
    battery: Battery, state: BatteryState, second: Second, wall_ns: Callable[[int], int]
) -> tuple[list[Estimate], BatteryState]:
    before = state.second
    follows = before is not None and before.tick + battery.rate_hz == second.tick
    estimates, minute, trend = _minute(battery, state, second, wall_ns)
    counting = state.counting if follows else None
    found, counting = counted(battery, counting, second)
    if found is not None and state.counting is not None:
        estimates.append(_capacity(battery, state.stream_no, state.counting.first_tick, second.tick, found))
    steps = state.steps or Steps(second.tick)
    if follows and before is not None and before.known and second.known:
        steps = stepped(battery, steps, before, second)
    elapsed_s = (second.tick - steps.first_tick) // battery.rate_hz
    if (elapsed_s and elapsed_s % MINUTE_S == 0) or elapsed_s > MINUTE_S * 5:
        best = resistance(battery, steps)
        ends, told = due(best, elapsed_s)
        if told and best is not None:
            estimates.append(_resistance(battery, state.stream_no, steps, second.tick, best))
        if ends:
            steps = Steps(second.tick)
    return estimates, BatteryState(state.stream_no, state.filling, second, steps, counting, minute, trend)


def _minute(
    battery: Battery, state: BatteryState, second: Second, wall_ns: Callable[[int], int]
) -> tuple[list[Estimate], Minute, Trend | None]:
    """Close the minute that this second is no part of, and count the second in its own."""
    length = MINUTE_S * battery.rate_hz
    estimates: list[Estimate] = []
    trend, minute = state.trend, state.minute
    if minute is not None and minute.first_tick // length != second.tick // length:
        estimates, trend = _closed(battery, state, minute, wall_ns)
        minute = None
    minute = minute or Minute(second.tick)
    if not second.known:
        return estimates, minute, trend
    spread = _spread_uv(battery, second)
    (n, uu, uw, ww), (dn, duu, duw, dww) = minute.ripple, second.ripple
    return (
        estimates,
        Minute(
            minute.first_tick,
            minute.seconds + 1,
            minute.voltage + second.voltage,
            minute.current + abs(second.current),
            (n + dn, uu + duu, uw + duw, ww + dww),
            minute.spread if spread is None else (minute.spread[0] + 1, minute.spread[1] + spread),
        ),
        trend,
    )


def _closed(
    battery: Battery, state: BatteryState, minute: Minute, wall_ns: Callable[[int], int]
) -> tuple[list[Estimate], Trend | None]:
    estimates: list[Estimate] = []
    trend = state.trend
    if minute.seconds < MINUTE_S_MIN:
        return estimates, trend
    last_tick = (minute.first_tick // (MINUTE_S * battery.rate_hz) + 1) * MINUTE_S * battery.rate_hz - 1
    place = (state.stream_no, minute.first_tick, last_tick)
    current_a = minute.current * abs(battery.current_factor) / minute.seconds
    conditions = {"signals": battery.described(), "current_a": round(current_a, 1)}
    ripple = _ripple(battery, minute)
    if ripple is not None:
        estimates.append(Estimate("ripple", *place, *ripple, conditions))
    n, total = minute.spread
    if n >= MINUTE_S_MIN:
        mean_mv, bound_mv = total / n / 1e3, _spread_bound_mv(battery)
        estimates.append(Estimate("imbalance", *place, mean_mv, bound_mv, n, conditions))
        trend = noted(trend, wall_ns(minute.first_tick), current_a, mean_mv)
        found = slope(trend) if trend.count % MINUTES_MIN == 0 else None
        if found is not None:
            days = (trend.last_ns - trend.origin_ns) / 86_400e9
            wide = 2 * found[1] + 2 * bound_mv / days
            over = {"signals": battery.described(), "over_days": round(days, 4)}
            estimates.append(Estimate("imbalance_trend", *place, found[0], wide, trend.count, over))
    return estimates, trend


def _ripple(battery: Battery, minute: Minute) -> tuple[float, float, int] | None:
    """V (RMS), its bound and n: what voltage does from tick to tick that current does not explain."""
    measure = battery.measures["voltage"]
    volts = abs(measure.value(minute.voltage / minute.seconds))
    bound = measure.bound + measure.step / 2
    n, uu, uw, ww = minute.ripple
    if n < battery.rate_hz * MINUTE_S_MIN or measure.bound > RIPPLE_BOUND_MAX * volts:
        return None
    unexplained = max(uu - (uw * uw / ww if ww else 0.0), 0.0)
    # White noise of variance s has second differences of variance 6 s.
    return math.sqrt(unexplained / n / 6) * measure.step, bound, n


def _spread_uv(battery: Battery, second: Second) -> int | None:
    _, imbalance, highest, lowest, _ = second.others
    if imbalance is not None:
        return round(battery.measures["imbalance"].value(imbalance) * 1e6)
    if highest is None or lowest is None:
        return None
    return round(
        (battery.measures["cell_max"].value(highest) - battery.measures["cell_min"].value(lowest)) * 1e6
    )


def _spread_bound_mv(battery: Battery) -> float:
    names = ("imbalance",) if "imbalance" in battery.measures else ("cell_max", "cell_min")
    return sum(battery.measures[name].bound + battery.measures[name].step / 2 for name in names) * 1e3


def _resistance(battery: Battery, stream_no: int, steps: Steps, tick: int, found: Resistance) -> Estimate:
    conditions: dict[str, Any] = {
        "signals": battery.described(),
        "step_a": round(found.step_a, 1),
        "bound": found.bound,
    }
    n, total, least, most = steps.warmth
    if n:
        warmth = battery.measures["temperature"]
        values = (warmth.value(total / n), *sorted((warmth.value(least), warmth.value(most))))
        conditions["temperature_c"], conditions["temperature_min_c"], conditions["temperature_max_c"] = (
            round(value, 1) for value in values
        )
    if steps.charge[0]:
        conditions["soc"] = round(battery.measures["soc"].value(steps.charge[1] / steps.charge[0]), 1)
    return Estimate(
        "resistance", stream_no, steps.first_tick, tick, found.value, found.uncertainty, found.n, conditions
    )


def _capacity(battery: Battery, stream_no: int, first_tick: int, tick: int, found: Capacity) -> Estimate:
    conditions = {
        "signals": battery.described(),
        "soc_from": round(found.soc_from, 2),
        "soc_to": round(found.soc_to, 2),
        "charge_ah": round(found.charge_ah, 3),
    }
    return Estimate(
        "capacity",
        stream_no,
        first_tick,
        tick,
        found.value,
        found.uncertainty,
        round(found.over_s),
        conditions,
    )
