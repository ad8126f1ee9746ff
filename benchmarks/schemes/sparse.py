"""Sparse protobuf messages: one per record, with its timestamp and only the fields that have to be sent.

- Send-on-delta: a field is sent if its value is farther from the last one sent than its bound.
- Open loop: a field is sent if it is farther from the vehicle's prediction than its bound. The prediction is the classic
  0.3 x value + 0.7 x prediction, which the vehicle updates with every value, and the receiver only with those that it
  gets. So the two drift apart until the next resync, when all fields are sent. It is here for the error that it makes.

A signal that stops being available is sent as NaN, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.values import bounds, from_physical, to_physical, turns, values_of
from codec.kernel import kernel
from demo.baselines import message_class, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.values import Values
    from codec.records import Records
    from codec.schema import Schema

ALPHA = 0.3
RESYNC_S = 30


@kernel
def hold_last(values: Any, bound: float, turn: float, sent: Any) -> None:
    """Fill sent bool[n]: what send-on-delta sends of values float64[n]."""
    last = np.nan
    for i in range(values.size):
        x = values[i]
        if np.isnan(x) or np.isnan(last):
            sent[i] = i == 0 or np.isnan(x) != np.isnan(last)
        else:
            error = abs(x - last)
            if turn < np.inf:
                error %= turn
                error = min(error, turn - error)
            sent[i] = error > bound
        if sent[i]:
            last = x


@kernel
def predict_open_loop(values: Any, bound: float, alpha: float, resync: int, sent: Any) -> None:
    """Fill sent bool[n]: what a vehicle sends that predicts from values which the receiver never gets."""
    predicted = np.nan
    for i in range(values.size):
        x = values[i]
        if i % resync == 0 or np.isnan(x) != np.isnan(predicted):
            sent[i] = True
            predicted = x
        else:
            sent[i] = abs(x - predicted) > bound
            predicted = alpha * x + (1 - alpha) * predicted


@kernel
def follow_open_loop(values: Any, sent: Any, alpha: float, resync: int) -> None:
    """values[i] is what was received where sent[i] is; the rest becomes what the receiver predicts."""
    predicted = np.nan
    for i in range(values.size):
        if not sent[i]:
            values[i] = predicted
        elif i % resync == 0 or np.isnan(values[i]) or np.isnan(predicted):
            predicted = values[i]
        else:
            predicted = alpha * values[i] + (1 - alpha) * predicted


def encode_send_on_delta(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    values = values_of(schema, blocks)
    sent = np.zeros(values.shape, np.bool_)
    for column, (bound, turn) in enumerate(zip(bounds(schema), turns(schema), strict=True)):
        hold_last(values[:, column], bound, turn, sent[:, column])
    return _messages(schema, blocks, values, sent)


def decode_send_on_delta(schema: Schema, contents: Sequence[bytes]) -> Values:
    values, sent = _fields(schema, contents)
    newest = np.maximum.accumulate(np.where(sent, np.arange(len(sent))[:, None], 0), axis=0)
    return np.take_along_axis(values, newest, axis=0)


def encode_open_loop(schema: Schema, blocks: Sequence[Records]) -> list[bytes]:
    values = values_of(schema, blocks)
    sent = np.zeros(values.shape, np.bool_)
    for column, bound in enumerate(bounds(schema)):
        predict_open_loop(values[:, column], bound, ALPHA, RESYNC_S * schema.rate_hz, sent[:, column])
    return _messages(schema, blocks, values, sent)


def decode_open_loop(schema: Schema, contents: Sequence[bytes]) -> Values:
    values, sent = _fields(schema, contents)
    for column in range(values.shape[1]):
        follow_open_loop(values[:, column], sent[:, column], ALPHA, RESYNC_S * schema.rate_hz)
    return values


def _messages(
    schema: Schema, blocks: Sequence[Records], values: Values, sent: NDArray[np.bool_]
) -> list[bytes]:
    record = message_class(schema, presence=True)
    names = [f"s{column}" for column in range(len(schema.signals))]
    stamps = [stamp for block in blocks for stamp in milliseconds(schema, block)]
    rows, columns = np.nonzero(sent)
    numbers = to_physical(schema, values)[rows, columns].tolist()
    ends = np.searchsorted(rows, np.arange(len(values) + 1)).tolist()
    columns_list = columns.tolist()
    contents = []
    for i, stamp in enumerate(stamps):
        fields = {names[columns_list[k]]: numbers[k] for k in range(ends[i], ends[i + 1])}
        contents.append(record(timestamp_ms=stamp, **fields).SerializeToString())
    return contents


def _fields(schema: Schema, contents: Sequence[bytes]) -> tuple[Values, NDArray[np.bool_]]:
    """What was received: values, NaN where nothing was, and where something was."""
    record = message_class(schema, presence=True)
    columns = {field.name: int(field.name[1:]) for field in record.DESCRIPTOR.fields[1:]}
    values = np.full((len(contents), len(schema.signals)), np.nan)
    sent = np.zeros(values.shape, np.bool_)
    for i, content in enumerate(contents):
        for field, value in record.FromString(content).ListFields()[1:]:
            values[i, columns[field.name]] = value
            sent[i, columns[field.name]] = True
    return from_physical(schema, values), sent
