"""Schema: the ordered signals of a stream, with all that a reader needs.

Rules
- A schema is a value. It is identified by the hash of its canonical JSON, so equal schemas have equal hashes.
- Everything is in raw counts; `factor` and `offset` make a physical value of them: counts * factor + offset.
- The error bound holds in counts: D = floor(threshold / |factor| + 1e-9). An error of exactly D counts exceeds
  the threshold in float64 for some values (39.9 - 37.9 > 2.0), so nothing here compares physical errors.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.errors import SchemaError
from codec.records import Availability

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_BYTES = 16
SCALED_BITS_MAX = 47  # differences and sums of two counts stay far from the end of int64
TURN_COUNTS_MAX = 1 << 36  # a block may hold half as many turns as records
SIGNALS_MAX = 4096  # bounds what a peer can make a reader allocate
RATE_HZ_MAX = 1000
SCHEMA_BYTES_MAX = 4 << 20
NS = 1_000_000_000


class Kind(IntEnum):
    """What the counts of a signal are."""

    SCALED = 0  # raw integers of at most SCALED_BITS_MAX bits and a sign
    FLOAT32 = 1  # the bits of a float32 (of a float16, widened), zero-extended
    FLOAT64 = 2  # the bits of a float64
    WIDE_UNSIGNED = 3  # integers too wide for arithmetic in int64: always lossless
    WIDE_SIGNED = 4


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal. `threshold`, `resolution` and `circular` are physical; 0 means lossless, free and not a circle."""

    name: str
    unit: str = ""
    kind: Kind = Kind.SCALED
    factor: float = 1.0
    offset: float = 0.0
    threshold: float = 0.0  # largest error allowed
    resolution: float = 0.0  # step in which sent values are coded; 0: as coarse as the threshold allows
    circular: float = 0.0  # one turn (360 for degrees)
    minimum: float | None = None  # as the DBC says, for display
    maximum: float | None = None
    labels: tuple[tuple[int, str], ...] = ()  # value table: counts to words
    source: str = ""  # bus and message it comes from

    def __post_init__(self) -> None:
        if not self.name:
            raise SchemaError("a signal has no name")
        numbers = (self.factor, self.offset, self.threshold, self.resolution, self.circular)
        if not all(math.isfinite(x) for x in numbers) or self.factor == 0:
            raise SchemaError(
                f"signal {self.name}: factor, offset, threshold, resolution and circular must be finite, factor not 0"
            )
        if not all(math.isfinite(x / self.factor) for x in (self.threshold, self.resolution, self.circular)):
            raise SchemaError(
                f"signal {self.name}: threshold, resolution or circular is more counts of {self.factor} than there are numbers"
            )
        if min(self.threshold, self.resolution, self.circular) < 0:
            raise SchemaError(f"signal {self.name}: threshold, resolution and circular cannot be negative")
        if self.threshold and self.kind in (Kind.WIDE_UNSIGNED, Kind.WIDE_SIGNED):
            raise SchemaError(
                f"signal {self.name}: an integer of more than {SCALED_BITS_MAX} bits is always lossless; set threshold = 0"
            )
        if self.circular and (
            self.kind is not Kind.SCALED or abs(self.circular / abs(self.factor) - self.turn_counts) > 1e-6
        ):
            raise SchemaError(
                f"signal {self.name}: a turn of {self.circular} is not a whole number of counts of {self.factor}"
            )
        if self.turn_counts > TURN_COUNTS_MAX:
            raise SchemaError(
                f"signal {self.name}: a turn of {self.turn_counts} counts; at most {TURN_COUNTS_MAX}"
            )
        if self.circular and self.max_error_counts * 2 >= self.turn_counts:
            raise SchemaError(
                f"signal {self.name}: a threshold of {self.threshold} leaves nothing of a turn of {self.circular}"
            )

    @property
    def max_error_counts(self) -> int:
        """D: the largest |reconstructed - sampled| in counts. Float signals compare physical values instead."""
        if self.kind is not Kind.SCALED:
            return 0
        return min(math.floor(self.threshold / abs(self.factor) + 1e-9), 1 << (SCALED_BITS_MAX - 2))

    @property
    def step_counts(self) -> int:
        """Step in which residuals are coded: at most 2 D + 1, so that the nearest step is within D."""
        widest = 2 * self.max_error_counts + 1
        wanted = round(self.resolution / abs(self.factor))
        return min(widest, wanted) if wanted >= 1 else widest

    @property
    def turn_counts(self) -> int:
        """Counts of one turn; 0 for what is not a circle."""
        return round(self.circular / abs(self.factor))


def physical(signal: Signal, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Physical values float64[...] of counts int64[...]: what cantools would give for the same raw value.

    Infinite where float64 ends.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN becomes a quiet one
        match signal.kind:
            case Kind.SCALED | Kind.WIDE_SIGNED:
                raw = counts.astype(np.float64)
            case Kind.FLOAT32:
                raw = counts.astype(np.uint32).view(np.float32).astype(np.float64)
            case Kind.FLOAT64:
                raw = np.ascontiguousarray(counts).view(np.float64)
            case Kind.WIDE_UNSIGNED:
                raw = np.ascontiguousarray(counts).view(np.uint64).astype(np.float64)
        return raw * signal.factor + signal.offset


@dataclass(frozen=True, slots=True)
class Schema:
    """The signals of a stream, in order, and how often they are sampled."""

    rate_hz: int
    signals: tuple[Signal, ...]
    hash: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.rate_hz <= RATE_HZ_MAX or NS % self.rate_hz:
            raise SchemaError(
                f"rate_hz = {self.rate_hz}: must divide a second into whole nanoseconds and be 1 to {RATE_HZ_MAX}"
            )
        if not 1 <= len(self.signals) <= SIGNALS_MAX:
            raise SchemaError(f"a schema has 1 to {SIGNALS_MAX} signals, not {len(self.signals)}")
        names = [signal.name for signal in self.signals]
        twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
        if twice:
            raise SchemaError(f"signal names that stand twice: {', '.join(sorted(twice))}")
        content = self.to_bytes()
        if len(content) > SCHEMA_BYTES_MAX:
            raise SchemaError(
                f"a schema of {len(content)} bytes, mostly value tables; at most {SCHEMA_BYTES_MAX}: leave signals out"
            )
        object.__setattr__(self, "hash", hashlib.sha256(content).digest()[:HASH_BYTES])

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def period_ns(self) -> int:
        return NS // self.rate_hz

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(signal.name for signal in self.signals)

    def index(self, name: str) -> int:
        """Column of a signal. Raises KeyError."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(name) from None

    def to_bytes(self) -> bytes:
        """Canonical JSON, UTF-8: keys sorted, no white space, what has its default left out."""
        signals = [_without_defaults(signal) for signal in self.signals]
        document = {"rate_hz": self.rate_hz, "signals": signals}
        return json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Schema:
        """Inverse of `to_bytes`. Raises SchemaError for anything else."""
        if len(content) > SCHEMA_BYTES_MAX:
            raise SchemaError(f"a schema of {len(content)} bytes; at most {SCHEMA_BYTES_MAX}")
        try:
            document = json.loads(content)
            signals = tuple(_signal(entry) for entry in document["signals"])
            schema = cls(rate_hz=int(document["rate_hz"]), signals=signals)
        except SchemaError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise SchemaError(f"not a schema: {error}") from None
        return schema

    def to_physical(self, counts: NDArray[np.int64], states: NDArray[np.uint8]) -> NDArray[np.float64]:
        """float64[n, m] of counts int64[n, m]; NaN where a signal is not available."""
        values = np.empty(counts.shape, np.float64)
        for column, signal in enumerate(self.signals):
            values[:, column] = physical(signal, counts[:, column])
        values[states != Availability.AVAILABLE] = np.nan
        return values


_DEFAULTS = asdict(Signal(name="default"))
_NUMBERS = set(_DEFAULTS) - {"name", "unit", "source", "kind", "labels"}


def _without_defaults(signal: Signal) -> dict[str, Any]:
    entry = {key: value for key, value in asdict(signal).items() if key == "name" or value != _DEFAULTS[key]}
    for key in _NUMBERS & set(entry):
        entry[key] = float(entry[key])  # 360 and 360.0 are one signal, so they are one text
    if "kind" in entry:
        entry["kind"] = int(entry["kind"])
    return entry


def _signal(entry: dict[str, Any]) -> Signal:
    unknown = set(entry) - set(_DEFAULTS)
    if unknown:
        raise SchemaError(f"signal {entry.get('name')}: unknown keys {sorted(unknown)}")
    texts = {key: str(entry[key]) for key in ("name", "unit", "source") if key in entry}
    numbers = {key: float(value) for key, value in entry.items() if key in _NUMBERS}
    labels = tuple((int(count), str(word)) for count, word in entry.get("labels", ()))
    return Signal(**texts, **numbers, kind=Kind(entry.get("kind", 0)), labels=labels)  # type: ignore[arg-type]
