"""Signals as a pandas DataFrame, for notebooks.

The frame has one float64 column for each signal and a time index in UTC, named "time", of nanoseconds. NaN is what is not available,
and what is missing: see `pieces` for holes. Enumerations are categories of their value table's words, in its order, or text, or numbers.

What the columns are stands in `frame.attrs`, and `units(frame)` reads it:
    attrs["vin"]             the vehicle
    attrs["units"]           {signal: unit}
    attrs["thresholds"]      {signal: largest error of its values}
    attrs["time_uncertain"]  [(start, end)]: there the vehicle's clock was never set, and times are a guess
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from collector.extras import how_to_install
from collector.reading.pieces import batched
from collector.reading.signals import QueryError

if TYPE_CHECKING:
    import pandas as pd

    from collector.reading.series import Series
    from collector.reading.signals import SignalInfo

Words = Literal["category", "text", "number"]
BATCH_RECORDS = (
    1 << 16
)  # joined as they come: a hundred thousand small arrays would leave as many holes in memory
FRAME_BYTES_MAX = 4 << 30  # more is a notebook that dies; half of it is copied once


def frame_of(series: Series, words: Words = "category") -> pd.DataFrame:
    """All of it. Raises QueryError."""
    if words not in get_args(Words):
        raise QueryError(f"words: {words!r}; it can be {', '.join(get_args(Words))}")
    try:
        import pandas as pd
    except ImportError:
        raise QueryError(f"frames need pandas, which is missing: {how_to_install('reading')}") from None
    times, values, size = [], [], 0
    for piece in batched(series.pieces, BATCH_RECORDS):
        times.append(piece.times_ns)
        values.append(piece.values)
        size += times[-1].nbytes + values[-1].nbytes
        if size > FRAME_BYTES_MAX:
            raise QueryError(
                f"more than {FRAME_BYTES_MAX >> 30} GiB in one frame; ask for a shorter range, fewer signals or a "
                "rate_hz, or write a file with `collector export`"
            )
    if not times:
        warnings.warn(series.nothing(), stacklevel=3)
    at = np.concatenate(times) if times else np.empty(0, np.int64)
    columns = np.concatenate(values) if values else np.empty((0, len(series.signals)))
    index = pd.DatetimeIndex(at.view("datetime64[ns]"), name="time").tz_localize("UTC")
    frame = pd.DataFrame(columns, index=index, columns=[info.name for info in series.signals], copy=False)
    for info in series.signals if words != "number" else ():
        if info.is_enumeration:
            values = frame[info.name].to_numpy()
            frame[info.name] = _categories(pd, info, values) if words == "category" else worded(info, values)
    frame.attrs = {
        "vin": series.vin,
        "units": {info.name: info.unit for info in series.signals},
        "thresholds": {info.name: info.threshold for info in series.signals},
        "time_uncertain": [
            (pd.Timestamp(start, tz="UTC"), pd.Timestamp(end, tz="UTC")) for start, end in series.uncertain
        ],
    }
    return frame


def units(frame: pd.DataFrame) -> dict[str, str]:
    """{column: unit} of a frame that was read here, of the columns that it still has."""
    known: dict[str, str] = frame.attrs.get("units", {})
    return {str(name): known.get(str(name), "") for name in frame.columns}


def worded(info: SignalInfo, values: np.ndarray) -> np.ndarray:
    """object[n]: words of values, None for NaN; a value that has no word stands as the shortest text of its number."""
    words, places = _words(info, values)
    written: np.ndarray = np.array(words, object)[places]
    return written


def _words(info: SignalInfo, values: np.ndarray) -> tuple[list[str | None], np.ndarray]:
    """The words that occur, and which of them each value is."""
    found = dict(info.labels)
    distinct, places = np.unique(values, return_inverse=True)
    return [
        None if np.isnan(value) else found.get(value, f"{value:.15g}") for value in distinct.tolist()
    ], places


def _categories(pd: Any, info: SignalInfo, values: np.ndarray) -> Any:
    """Of the value table's words in its order, then of what it has no word for."""
    words, places = _words(info, values)
    codes = dict.fromkeys(word for _, word in info.labels) | dict.fromkeys(
        word for word in words if word is not None
    )
    code_of = {word: code for code, word in enumerate(codes)}
    of_words = np.array([-1 if word is None else code_of[word] for word in words], np.int32)
    return pd.Categorical.from_codes(of_words[places], categories=list(codes))
