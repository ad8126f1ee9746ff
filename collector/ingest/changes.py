"""What a group of items changes in the store: rows, as ingest decided them. Written in one transaction or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from collector.battery import BatteryState
from collector.diagnosis import DiagnosisState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.detectors.episodes import Episode
    from collector.ingest.labels import Label
    from collector.ingest.paging import Paging
    from collector.ingest.progress import Progress
    from collector.ingest.twins import Elsewhere
    from collector.items import Description, OutboxKey
    from collector.rules import RuleState

Row = dict[str, Any]  # by column name; names with of_ say which row


@dataclass(frozen=True, slots=True)
class SavedOutbox:
    """One outbox as the store has it."""

    id: int
    revision: int
    progress: Progress
    rule_state: RuleState
    model: str = ""  # of the vehicle, as it said last
    battery: BatteryState = field(default_factory=BatteryState)
    diagnosis: DiagnosisState = field(default_factory=DiagnosisState)
    full_rate_until: int | None = None  # tick of the wanted stream

    def saved(self) -> SavedOutbox:
        return self


class Saving(Protocol):
    """An outbox that a transaction changes. What is written of it is how it stands at the end."""

    @property
    def id(self) -> int: ...
    @property
    def revision(self) -> int:
        """Before the transaction."""
        ...

    def saved(self) -> SavedOutbox: ...


@dataclass(slots=True)
class Changes:
    """Rows by table. Keys of dicts are the rows' identities: the last change of a group wins."""

    vehicles: dict[str, Row] = field(default_factory=dict)
    vehicle_states: dict[str, Row] = field(default_factory=dict)
    heartbeats: dict[str, Row] = field(default_factory=dict)
    health: dict[str, Row] = field(default_factory=dict)  # of vehicles that were written to, after these
    outboxes: dict[int, Saving] = field(default_factory=dict)
    replaced: dict[int, Row] = field(default_factory=dict)
    streams: dict[tuple[int, int], Row] = field(default_factory=dict)
    stream_labels: dict[tuple[int, int], Row] = field(default_factory=dict)
    batches: list[Row] = field(default_factory=list)
    batches_replaced: list[Row] = field(default_factory=list)
    batches_doubtful: list[Row] = field(default_factory=list)  # groups that are now, or are no more
    gaps: dict[tuple[int, int, int], Row] = field(default_factory=dict)
    quarantine: list[Row] = field(default_factory=list)
    blobs: dict[tuple[int, bytes], Row] = field(default_factory=dict)
    faults: dict[tuple[int, int, int, str], Row] = field(default_factory=dict)
    faults_ended: list[Row] = field(default_factory=list)  # otherwise than by their rules
    faults_paged: list[Row] = field(default_factory=list)  # under which name somebody was told of them
    provisional: dict[tuple[int, str], Row] = field(default_factory=dict)
    provisional_gone: dict[tuple[int, str], Row] = field(
        default_factory=dict
    )  # none of these is in `provisional`
    notices: list[Row] = field(default_factory=list)  # in their order
    diagnoses: dict[tuple[int, int, int, str], Row] = field(default_factory=dict)
    diagnoses_ended: list[Row] = field(default_factory=list)  # by a change of the catalogue
    battery: list[Row] = field(default_factory=list)
    faults_approximate: list[Row] = field(
        default_factory=list
    )  # and anomalies, in a stretch that came out wrong
    anomalies: dict[tuple[int, int, int, str, str], Row] = field(default_factory=dict)
    telemetry_gone: list[Row] = field(default_factory=list)  # of ticks that were stored wrong
    telemetry: list[Row] = field(default_factory=list)
    telemetry_missing: list[Row] = field(default_factory=list)  # those of them that are not there
    rollups_gone: list[Row] = field(default_factory=list)  # may be there; what is right comes after it
    rollups: dict[tuple[int, int, int, str], Row] = field(default_factory=dict)
    full_rate: dict[int, Row] = field(default_factory=dict)
    times: list[Row] = field(
        default_factory=list
    )  # of stored streams whose label changed; after everything else


class Ledger(Protocol):
    """One transaction: what ingest reads, and the changes it collects. Reads see the changes made so far."""

    changes: Changes

    def open_outbox(self, key: OutboxKey, now: str) -> SavedOutbox:
        """The outbox, made where it is new."""
        ...

    def description(self, outbox: int, key: OutboxKey, stream_no: int) -> Description | None: ...

    def elsewhere(self, outbox: int, vehicle: str, stream_id: bytes) -> Elsewhere:
        """What other outboxes of the vehicle have of the stream of this id."""
        ...

    def label(self, outbox: int, stream_no: int) -> tuple[int, bool]:
        """The stream's wall-clock offset in ns that readers' times are made with, and whether it was synchronised.

        (0, False) where it was never described.
        """
        ...

    def labels(self, outbox: int, stream_no: int) -> list[Label]:
        """Of the streams up to this one, from after the last stream of another boot that was synchronised."""
        ...

    def paging(self, outbox: int) -> Paging:
        """Its open faults, and the provisional ones."""
        ...

    def with_provisional(self, vehicle: str) -> list[OutboxKey]:
        """Outboxes of the vehicle that have provisional faults."""
        ...

    def with_open_faults(self) -> list[OutboxKey]:
        """Outboxes that have open faults, or provisional ones."""
        ...

    def blob(self, kind: int, content_hash: bytes) -> bytes | None: ...

    def offered_prior(self, schema_hash: bytes) -> bytes:
        """Name of the prior that was trained for this schema; empty: none."""
        ...

    def block(self, outbox: int, stream_no: int, seq: int) -> bytes | None:
        """Content of a stored batch, if its checksum holds."""
        ...

    def gap_end(self, outbox: int, stream_no: int, last_seq: int) -> int | None:
        """The first tick after a gap that ends with this seq, where the vehicle told."""
        ...

    def open_anomalies(self, outbox: int) -> list[Episode]:
        """Of any stream, in the order in which they began."""
        ...

    def blocks_back_to(
        self, outbox: int, stream_no: int, tick: int, end_seq: int
    ) -> list[tuple[int, int, bytes]]:
        """(seq, skip, content) of the stored batches before end_seq, from the keyframe at or before this tick on.

        Damaged ones are left out.
        """
        ...

    def blocks(self, outbox: int, stream_no: int, first_seq: int) -> list[tuple[int, bytes]]:
        """(seq, content) of the stored batches from first_seq on, up to the first whose checksum fails."""
        ...

    def last_group(self, outbox: int, stream_no: int) -> tuple[int | None, dict[int, range]]:
        """(the tick after what was stored before the newest keyframe, ticks of that one and of the batches after it, by seq).

        They are settled.
        """
        ...

    def own_end(self, outbox: int, stream_no: int, end_seq: int) -> int | None:
        """The tick after the newest stored record before a batch that no other outbox had; None: there is none."""
        ...

    def sound_keyframes(self, outbox: int, stream_nos: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
        """(stream_no, seq, content) of the keyframes of these streams that are not doubtful, in their order."""
        ...

    def settle(self) -> None:
        """Batches so far, and what was made of them, are written: what replaces it comes after it."""
        ...

    def ticks(self, outbox: int, stream_no: int, first_seq: int) -> dict[int, range]:
        """Ticks of the stored batches from first_seq on, by seq, which are settled."""
        ...

    def mark(self) -> None:
        """What was found so far, and where it became approximate, is written: what is found from here on is not marked."""
        ...
