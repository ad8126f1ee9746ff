"""Where things lie in the arrays that the kernels share: a column's parameters and contexts, and the workspace."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from codec import clocks, events, patterns, recall, references, residuals
from codec.contexts import STAMP_AT, new_cells, unpacked
from codec.range_coder import CODER_SIZE, INT_CONTEXTS
from codec.residuals import CORRECTION_CONTEXTS, STATE_SIZE
from codec.signature import I64, U8, U64, I64x2, U64x2

# Models of a scaled column.
HOLD, LINE, SMOOTH, CLASSIC, HOLT, FILTER, SPARSE, RECALL = range(8)
MODELS = 8
MODEL_NAMES = ("hold", "line", "smooth", "classic", "holt", "filter", "sparse", "recall")

# A column's parameters: int64[m, PARAMETERS].
KIND, ERROR_MAX, STEP, GRID, TURN, GUARD_START, GUARD_STOP, FORCED = range(8)
PARAMETERS = 8
SCALED, PATTERN = 0, 1

# How the values of a column are coded.
STILL, COPY, CODED = range(3)

# Where the contexts of a column lie.
C_MODEL = 0  # "the same as last time" by last model, and for none; then trees of three bits
C_FLAGS = C_MODEL + 81  # circular, corrected, literal
C_CLOCK = C_FLAGS + 3
C_INITIAL = C_CLOCK + references.REFERENCE_CONTEXTS
C_CORRECTION = C_INITIAL + INT_CONTEXTS
C_HOLD = C_CORRECTION + CORRECTION_CONTEXTS
C_LINE = C_HOLD + events.HOLD_CONTEXTS
C_SMOOTH = C_LINE + events.LINE_CONTEXTS
C_CLASSIC = C_SMOOTH + residuals.SMOOTH_CONTEXTS
C_HOLT = C_CLASSIC + residuals.SMOOTH_CONTEXTS
C_FILTER = C_HOLT + residuals.SMOOTH_CONTEXTS
C_SPARSE = C_FILTER + residuals.FILTER_CONTEXTS
C_RECALL = C_SPARSE + residuals.SPARSE_CONTEXTS
C_PATTERN = C_RECALL + recall.RECALL_CONTEXTS
# One set of these serves all columns.
C_STATES = C_PATTERN + patterns.PATTERN_CONTEXTS
C_VALUES = C_STATES + references.STATES_CONTEXTS
CONTEXTS = C_VALUES + 99 + 99 + references.REFERENCE_CONTEXTS

TABLES_AT = CONTEXTS  # cells that are no contexts: what recall remembers
CELLS = TABLES_AT + recall.TABLE_CELLS

# Room for a body: random 47-bit counts cost under 10 bytes each; contexts that expect otherwise, some more.
BODY_BYTES_PER_VALUE = 32
BODY_BYTES_MIN = 4096


class Start(NamedTuple):
    """What stays the same from block to block. One row of a prior may serve every column."""

    prior: I64x2  # [rows, CONTEXTS]: cells
    weights: I64x2  # [rows, ORDER]
    parameters: I64x2  # [m, PARAMETERS]


class Workspace(NamedTuple):
    """Arrays that the kernels need for one block; they allocate nothing themselves."""

    buffer: U8  # the body
    coder: I64
    cells: I64  # see Contexts
    used: I64
    place: I64
    shared_cells: I64  # of all columns
    shared_used: I64
    shared_place: I64
    values: I64  # sampled counts of the available records, one after the other
    low: I64  # the tube
    high: I64
    column: I64  # reconstructed counts
    sent: I64  # pattern columns: which values are sent
    events_at: I64x2  # [2, records]: events of hold, of line
    events_value: I64x2
    clock: I64x2  # [3, records]: see `set_clock`
    guesses: I64  # for the search of clocks
    ends: I64x2  # [3, 64]: for the search of lines
    trial_cells: I64
    trial_used: I64
    trial_place: I64
    trial_state: I64
    trial_buffer: U8
    trial_coder: I64
    how: I64  # [2]: see columns.py
    before: I64  # per column: counts at the last record before this block
    marks: U64  # per column: tells states apart
    ticks: U64x2  # per column: how often it changed, and at which records, as bits
    memory: I64  # what streams remember after their blocks
    digests: U64x2  # [signals, 2]


def memory_size(signals: int) -> int:
    """Words that a stream of so many signals remembers at most: column states; how many cells each column uses, and how
    many all of them share; these cells.
    """
    return signals * (STATE_SIZE + 1 + CELLS) + 1 + CELLS


def column_states(memory: np.ndarray, signals: int) -> np.ndarray:
    """int64[signals, STATE_SIZE] of what a stream remembers; zeros if that is nothing."""
    size = signals * STATE_SIZE
    states = memory[:size] if memory.size else np.zeros(size, np.int64)
    return states.reshape(signals, STATE_SIZE)


def contexts_of(memory: np.ndarray, prior: np.ndarray, signals: int) -> np.ndarray:
    """uint16[signals, CONTEXTS, 3] of what a stream remembers: the prior's, where it has used none.

    What all columns share stands in the first row.
    """
    cells = np.broadcast_to(prior, (signals, CONTEXTS)).copy()
    if memory.size:
        used = memory[signals * STATE_SIZE : signals * (STATE_SIZE + 1) + 1]
        kept = memory[signals * (STATE_SIZE + 1) + 1 :]
        rows, at = np.repeat(np.append(np.arange(signals), 0), used), kept >> STAMP_AT
        context = at < CONTEXTS
        cells[rows[context], at[context]] = kept[context]
    return unpacked(cells)


def new_workspace(records: int, signals: int, body_bytes: int) -> Workspace:
    cells, used, place = new_cells(CELLS)
    shared_cells, shared_used, shared_place = new_cells(CELLS)
    trial_cells, trial_used, trial_place = new_cells(CELLS)
    return Workspace(
        buffer=np.empty(body_bytes, np.uint8),
        coder=np.zeros(CODER_SIZE, np.int64),
        cells=cells,
        used=used,
        place=place,
        shared_cells=shared_cells,
        shared_used=shared_used,
        shared_place=shared_place,
        values=np.zeros(records, np.int64),
        low=np.zeros(records, np.int64),
        high=np.zeros(records, np.int64),
        column=np.zeros(records, np.int64),
        sent=np.zeros(records, np.int64),
        events_at=np.zeros((2, records), np.int64),
        events_value=np.zeros((2, records), np.int64),
        clock=np.zeros((3, records), np.int64),
        guesses=np.zeros(clocks.GUESSES, np.int64),
        ends=np.zeros((3, events.RING), np.int64),
        trial_cells=trial_cells,
        trial_used=trial_used,
        trial_place=trial_place,
        trial_state=np.zeros(STATE_SIZE, np.int64),
        trial_buffer=np.empty(BODY_BYTES_PER_VALUE * records + BODY_BYTES_MIN, np.uint8),
        trial_coder=np.zeros(CODER_SIZE, np.int64),
        how=np.zeros(2, np.int64),
        before=np.zeros(signals, np.int64),
        marks=np.zeros(signals, np.uint64),
        ticks=np.empty((signals, 1 + (records + 63) // 64), np.uint64),
        memory=np.empty(2 * memory_size(signals), np.int64),  # only what is used of it is ever in memory
        digests=np.zeros((signals, 2), np.uint64),
    )


_idle: list[Workspace] = [new_workspace(512, 32, 1 << 12)]


def take_workspace(records: int, signals: int, body_bytes: int) -> Workspace:
    """One that nobody uses, for a block of so many records of so many signals and a body of so many bytes.

    It holds nothing between blocks: whoever is done gives it back, for other streams and threads.
    """
    space = _idle.pop() if _idle else new_workspace(records, signals, body_bytes)
    has_records, has_signals, has_bytes = space.values.size, space.before.size, space.buffer.size
    if has_records >= records and has_signals >= signals and has_bytes >= body_bytes:
        return space
    return new_workspace(max(has_records, records), max(has_signals, signals), max(has_bytes, body_bytes))


def give_back(space: Workspace) -> None:
    _idle.append(space)
