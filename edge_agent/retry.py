"""When to try to reach the collector again: a decision, without a clock of its own.

Rules
- Full jitter: a fleet that lost its collector at one instant does not come back at one instant. The ceiling doubles from
  the shortest wait to the longest.
- A network that came back is worth a try at once, but no more than one in the shortest wait, however much it has to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES_MAX = 32  # beyond, the longest wait is long reached


def full_jitter(min_s: float, max_s: float) -> Callable[[int], float]:
    """Seconds to wait after so many failures: anything from `min_s` to a ceiling that doubles up to `max_s`."""
    wait = wait_random_exponential(multiplier=2 * min_s, min=min_s, max=max_s)
    state = RetryCallState(Retrying(), None, (), {})

    def seconds(failures: int) -> float:
        state.attempt_number = failures
        return wait(state)

    return seconds


class Retry:
    """`wait_s` draws the wait after so many failures in a row. All times are monotonic seconds."""

    def __init__(self, min_s: float, wait_s: Callable[[int], float]) -> None:
        self.due_s = 0.0  # not before
        self._min_s = min_s
        self._wait_s = wait_s
        self._failures = 0
        self._failed_at_s: float | None = None

    def failed(self, now_s: float) -> None:
        """A conversation ended otherwise than it should, or did not come about."""
        self._failures = min(self._failures + 1, FAILURES_MAX)
        self.due_s = now_s + self._wait_s(self._failures)
        self._failed_at_s = now_s

    def succeeded(self) -> None:
        """The collector said Welcome: what fails next fails for the first time."""
        self._failures = 0

    def network_changed(self, now_s: float) -> None:
        """A link came up, or an address or a route was added."""
        self._failures = 0
        if self._failed_at_s is not None:
            self.due_s = min(self.due_s, max(now_s, self._failed_at_s + self._min_s))

    def at_once(self) -> None:
        """Something else changed: there is another outbox, or a reason to say goodbye."""
        self.due_s = 0.0
