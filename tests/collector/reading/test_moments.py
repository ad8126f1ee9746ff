from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from collector.reading.moments import as_ns
from collector.reading.signals import QueryError

AT = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    ("moment", "ns"),
    [
        (None, None),
        ("2023-11-14T22:13:20Z", AT),
        ("-15m", AT - 900 * 10**9),
        (datetime(2023, 11, 14, 22, 13, 20, 5, UTC), AT + 5000),
        (datetime(2023, 11, 14, 22, 13, 20), AT),  # noqa: DTZ001
        (datetime(2023, 11, 15, 0, 13, 20, tzinfo=timezone(timedelta(hours=2))), AT),
        (date(2023, 11, 14), AT - 80_000 * 10**9),
        (datetime(1, 1, 1, tzinfo=UTC), -62_135_596_800 * 10**9),
        (pd.Timestamp(AT + 7, tz="UTC"), AT + 7),
        (pd.Timestamp("2023-11-14 22:13:20"), AT),
        (pd.Timestamp("2023-11-15 00:13:20", tz="Europe/Athens"), AT),
        (np.datetime64(AT, "ns"), AT),
        (np.datetime64("2023-11-14T22:13:20", "s"), AT),
    ],
)
def test_a_time_in_every_form(moment, ns):
    assert as_ns(moment, AT) == ns


@pytest.mark.parametrize("moment", ["soon", 17, pd.NaT, np.datetime64("NaT"), object()])
def test_what_is_no_time_is_said(moment):
    with pytest.raises(QueryError, match="no time"):
        as_ns(moment, AT)
