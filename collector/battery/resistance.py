"""Internal resistance from current steps: how far the pack's voltage sags for each ampere, a second after it.

Rules
- A step is the change from one second's first tick to the next one's, with every tick between them there. Only steps of
  STEP_A_MIN or more count; they are kept apart by size, for the larger the step the less a threshold matters.
- R is fitted in dV = -R dI - c I by least squares, over the largest sizes, as many as make the uncertainty least. The second term
  is what the load does to the cells within the second (polarisation, and the charge that leaves): on a charger's ramp it is
  a quarter of the first.
- The uncertainty is a sum: COVER standard errors, from the scatter around the fit, MODEL_SHARE of the value, and how far the thresholds may have bent
  it if every error lay the worst way: 2 (V bound + R I bound) sqrt(n M), M the element of the inverse normal matrix that is R's.
  A predictor leaves out what fits into its threshold, always on the flat side, so this part is no noise that more steps would
  average away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collector.battery.roles import Battery
    from collector.battery.seconds import Second

STEP_A_MIN = 20.0
SIZES = 7  # from 20, 40, 80 ... 1280 A
STEPS_MIN = 20
COVER = 2.2  # standard errors: 95 % of so few steps (Student's t), and a little
GOOD, USABLE = (
    0.10,
    0.50,
)  # uncertainty as a share of the value: good enough to end a window, and to be told at all
WINDOW_S_MIN, WINDOW_S_MAX = 60, 300
Sums = tuple[int, int, int, int, int, int, int, int]
MODEL_SHARE = 0.01  # of the value: what two terms leave out of a pack's slower polarisation
_NOTHING: Sums = (0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Steps:
    """Sums of one window, in counts. `sizes`: for each size n and the sums of |dI|, dI dI, dI I, I I, dI dV, I dV, dV dV."""

    first_tick: int
    sizes: tuple[Sums, ...] = (_NOTHING,) * SIZES
    warmth: tuple[int, int, int, int] = (0, 0, 0, 0)  # n, sum, least, most of the temperature's counts
    charge: tuple[int, int] = (0, 0)  # n, sum of the state of charge's counts

    def to_json(self) -> list[Any]:
        sizes = [(number, *one) for number, one in enumerate(self.sizes) if one[0]]
        return [self.first_tick, sizes, self.warmth, self.charge]

    @classmethod
    def from_json(cls, document: list[Any]) -> Steps:
        first_tick, found, warmth, charge = document
        sizes = [_NOTHING] * SIZES
        for number, *sums in found:
            sizes[number] = tuple(sums)
        return cls(first_tick, tuple(sizes), tuple(warmth), tuple(charge))


@dataclass(frozen=True, slots=True)
class Resistance:
    """In ohm. `bound`: the part of the uncertainty that the thresholds make."""

    value: float
    uncertainty: float
    bound: float
    n: int
    step_a: float  # mean size


def stepped(battery: Battery, steps: Steps, before: Second, after: Second) -> Steps:
    """With the step between two adjacent seconds."""
    di = after.current - before.current
    amperes = abs(di) * abs(battery.current_factor)
    if amperes < STEP_A_MIN:
        return steps
    dv = after.voltage - before.voltage
    size = min(int(math.log2(amperes / STEP_A_MIN)), SIZES - 1)
    level = before.current + round(battery.current_offset / battery.current_factor)
    more = (1, abs(di), di * di, di * level, level * level, di * dv, level * dv, dv * dv)
    sizes = list(steps.sizes)
    sizes[size] = tuple(one + another for one, another in zip(sizes[size], more, strict=True))  # type: ignore[assignment]
    soc, _, _, _, temperature = after.others
    warmth, charge = steps.warmth, steps.charge
    if temperature is not None:
        n, total, least, most = warmth if warmth[0] else (0, 0, temperature, temperature)
        warmth = (n + 1, total + temperature, min(least, temperature), max(most, temperature))
    if soc is not None:
        charge = (charge[0] + 1, charge[1] + soc)
    return Steps(steps.first_tick, tuple(sizes), warmth, charge)


def resistance(battery: Battery, steps: Steps) -> Resistance | None:
    """The best estimate that these steps give; None where they are too few or say nothing."""
    best: Resistance | None = None
    totals: list[Sums] = [_NOTHING]
    for size in reversed(steps.sizes):
        totals.append(tuple(one + more for one, more in zip(totals[-1], size, strict=True)))  # type: ignore[arg-type]
    scatter = _scatter(totals[-1])
    for total in totals[1:]:
        found = _fit(battery, total, scatter)
        if found is not None and (best is None or found.uncertainty < best.uncertainty):
            best = found
    return best


def _scatter(total: Sums) -> float:
    """Mean square of dV around the fit, counts."""
    n, _, aa, ab, bb, ay, by, yy = total
    determinant = aa * bb - ab * ab
    if n < STEPS_MIN or determinant == 0:
        return 0.0
    explained = ((ay * bb - by * ab) * ay + (by * aa - ay * ab) * by) / determinant
    return max(yy - explained, 0.0) / (n - 2)


def _fit(battery: Battery, total: Sums, scatter: float) -> Resistance | None:
    """`scatter`: of all sizes together. Of the largest alone it may be small by chance, and would be chosen for that."""
    n, size, aa, ab, bb, ay, by, _ = total
    # In whole numbers up to the division: the determinant of steps that all look alike is exactly 0.
    determinant = aa * bb - ab * ab
    if n < STEPS_MIN or determinant == 0:
        return None
    volt, ampere = battery.measures["voltage"].step, abs(battery.current_factor)
    inverse = bb / determinant
    error = math.sqrt(max(scatter, _scatter(total)) * inverse) * volt / ampere
    value = abs(ay * bb - by * ab) / determinant * volt / ampere
    step_a = size * ampere / n
    errors = battery.measures["voltage"].bound + value * battery.current_bound(step_a)
    bound = 2 * errors * math.sqrt(n * inverse) / ampere
    return Resistance(value, COVER * error + MODEL_SHARE * value + bound, bound, n, step_a)


def due(estimate: Resistance | None, elapsed_s: float) -> tuple[bool, bool]:
    """(whether the window ends, whether its estimate is told)."""
    share = math.inf if estimate is None or not estimate.value else estimate.uncertainty / estimate.value
    good, late = elapsed_s >= WINDOW_S_MIN and share <= GOOD, elapsed_s >= WINDOW_S_MAX
    return good or late, good or (late and share <= USABLE)
