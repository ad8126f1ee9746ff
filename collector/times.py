"""Wall times as readers see them: ISO 8601, UTC, milliseconds, so that they sort as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_NS = -62_135_596_800 * NS  # year 1
LATEST_NS = 253_402_300_799 * NS  # year 9999
AGO = re.compile(r"-(\d+(?:\.\d+)?)(s|m|min|h|d)")
_UNIT_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def to_text(wall_ns: int) -> str:
    """2026-11-21T08:15:30.020Z. What no calendar holds (a clock that was never set) becomes its nearest end."""
    seconds, rest = divmod(min(max(wall_ns, EARLIEST_NS), LATEST_NS), NS)
    return f"{_second(seconds)}.{rest // 1_000_000:03d}Z"


@lru_cache(4096)  # a fleet's seconds are the same ones
def _second(seconds: int) -> str:
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S}"


def from_text(text: str, now_ns: int) -> int:
    """Nanoseconds of an ISO 8601 time (UTC unless it says otherwise) or of a time ago: -90s, -15m, -2h, -7d.

    Raises ValueError, saying what can be written.
    """
    ago = AGO.fullmatch(text.strip())
    if ago:
        return now_ns - round(float(ago[1]) * _UNIT_S[ago[2]] * NS)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is no time; write 2026-11-21T08:15:30Z, 2026-11-21, or -15m for a quarter of an hour ago"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * NS + since.microseconds * 1000
