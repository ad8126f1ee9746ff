"""Where things lie in the arrays that the kernels share: a column's parameters and contexts, and the workspace."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from codec import events, patterns, residuals
from codec.range_coder import CODER_SIZE, INT_CONTEXTS
from codec.residuals import CORRECTION_CONTEXTS, STATE_SIZE

# Models of a scaled column.
HOLD, LINE, SMOOTH, CLASSIC, HOLT, FILTER, SPARSE = range(7)
MODELS = 7
MODEL_NAMES = ("hold", "line", "smooth", "classic", "holt", "filter", "sparse")

# A column's parameters: int64[m, PARAMETERS].
KIND, ERROR_MAX, STEP, GRID, TURN, GUARD_START, GUARD_STOP, FORCED = range(8)
PARAMETERS = 8
SCALED, PATTERN = 0, 1

# Where the contexts of a column lie.
C_MODEL = 0  # "the same as last time" by last model, and for none; then trees of three bits
C_FLAGS = C_MODEL + 72  # circular, corrected
C_AVAILABILITY = C_FLAGS + 2  # unchanged, next state (by last state), length of a run
C_INITIAL = C_AVAILABILITY + 1 + 16 + INT_CONTEXTS
C_CORRECTION = C_INITIAL + INT_CONTEXTS
C_HOLD = C_CORRECTION + CORRECTION_CONTEXTS
C_LINE = C_HOLD + events.HOLD_CONTEXTS
C_SMOOTH = C_LINE + events.LINE_CONTEXTS
C_CLASSIC = C_SMOOTH + residuals.SMOOTH_CONTEXTS
C_HOLT = C_CLASSIC + residuals.SMOOTH_CONTEXTS
C_FILTER = C_HOLT + residuals.SMOOTH_CONTEXTS
C_SPARSE = C_FILTER + residuals.FILTER_CONTEXTS
C_PATTERN = C_SPARSE + residuals.SPARSE_CONTEXTS
CONTEXTS = C_PATTERN + patterns.PATTERN_CONTEXTS

# Room for a body: random 47-bit counts cost under 10 bytes each; contexts that expect otherwise, some more.
BODY_BYTES_PER_VALUE = 32
BODY_BYTES_MIN = 4096


class Workspace(NamedTuple):
    """Arrays that the kernels need for one column of so many records; they allocate nothing themselves."""

    coder: np.ndarray
    values: np.ndarray  # sampled counts of the available records, one after the other
    low: np.ndarray  # the tube
    high: np.ndarray
    column: np.ndarray  # reconstructed counts
    sent: np.ndarray  # pattern columns: which values are sent
    events_at: np.ndarray  # [2, records]: events of hold, of line
    events_value: np.ndarray
    ends: np.ndarray  # [3, 64]: for the search of lines
    trial_contexts: np.ndarray
    trial_state: np.ndarray
    trial_buffer: np.ndarray
    trial_coder: np.ndarray

    @property
    def records(self) -> int:
        """How many records fit."""
        return int(self.values.size)


def new_workspace(records: int) -> Workspace:
    return Workspace(
        coder=np.zeros(CODER_SIZE, np.int64),
        values=np.zeros(records, np.int64),
        low=np.zeros(records, np.int64),
        high=np.zeros(records, np.int64),
        column=np.zeros(records, np.int64),
        sent=np.zeros(records, np.int64),
        events_at=np.zeros((2, records), np.int64),
        events_value=np.zeros((2, records), np.int64),
        ends=np.zeros((3, events.RING), np.int64),
        trial_contexts=np.zeros((CONTEXTS, 3), np.uint16),
        trial_state=np.zeros(STATE_SIZE, np.int64),
        trial_buffer=np.zeros(BODY_BYTES_PER_VALUE * records + BODY_BYTES_MIN, np.uint8),
        trial_coder=np.zeros(CODER_SIZE, np.int64),
    )
