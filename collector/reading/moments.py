"""Times as people give them: text, datetime, date, pandas Timestamp, numpy datetime64, or nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from collector import times
from collector.reading.signals import QueryError

Moment = (
    str | date | datetime | np.datetime64 | Any | None
)  # Any: pandas.Timestamp, which is not imported for it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_ns(moment: Moment, now_ns: int) -> int | None:
    """Unix nanoseconds; None of None. What has no time zone is UTC. Raises QueryError.

    Text is what `collector query --from` takes: ISO 8601, or a time ago such as -15m.
    """
    if moment is None:
        return None
    try:
        if moment != moment:  # noqa: PLR0124 - NaT, pandas' or numpy's
            raise ValueError("NaT is no time")
        if isinstance(moment, str):
            return times.from_text(moment, now_ns)
        if hasattr(moment, "as_unit"):  # pandas.Timestamp: it has nanoseconds, which a datetime loses
            return int(moment.as_unit("ns").value)
        if isinstance(moment, np.datetime64):
            return int(moment.astype("datetime64[ns]").astype(np.int64))
        if isinstance(moment, date):
            at = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
            since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
            return since // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError) as error:
        raise QueryError(str(error)) from None
    raise QueryError(
        f"{moment!r} is no time; give text such as 2026-11-21T08:15:30Z or -15m, a datetime or a Timestamp"
    )
