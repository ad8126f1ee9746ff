"""Capture: frames in, durable blocks out. What the capture thread drives; it has no thread or clock of its own.

Rules
- It takes at most `loss_max` records from the sampler before it writes, however many frames wait.
- A disk that cannot be written stops nothing: what has to be written is kept, encoded, and written first when it can.
  UNWRITTEN_BYTES_MAX of it are months; beyond that nothing more is taken.
- A damaged file is set aside; capture goes on in a fresh one, which says whose place it takes, and in memory until
  the disk takes that one.
"""

from __future__ import annotations

import mmap
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codec.errors import DamagedBlock, SchemaError
from codec.guards import GuardSet
from codec.priors import Prior
from edge_agent.blobs import pack_schema, unpack_schema
from edge_agent.errors import OutboxBusy, OutboxDamaged, OutboxError
from edge_agent.outbox import Outbox
from edge_agent.outbox_file import set_aside
from edge_agent.pipeline import BlockTicks, Mode, Pipeline, StreamName
from edge_agent.recovery import finish_stream
from edge_agent.rows import BlobKind, Commit, position_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from codec.records import Records
    from codec.schema import Schema
    from codec.stream import Clock
    from decoder.frames import Frames
    from decoder.sampler import Sampler
    from edge_agent.allowance import Spent

TAKE_FRAMES = 1024  # are matched again when they close more ticks than may be taken at once
UNWRITTEN_BYTES_MAX = 64 << 20  # of blocks that wait for the disk: over a month of driving
DISK_FREE_SHARE = 0.05  # of the disk stays free
_SAMPLED = struct.Struct("<qq")  # records sampled over all runs, last sampled tick


@dataclass(frozen=True, slots=True)
class Settings:
    """What capture needs of the configuration."""

    path: str
    synchronous: str
    quota_bytes: int
    ticks: BlockTicks
    park_after_ns: int
    boot_id: bytes
    side_log: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """News for whoever sends: the outbox holds everything before `end`. `crossed`: a guard did, in what is new."""

    end: int
    stream_no: int
    newest_tick: int
    crossed: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """News for the log: something went wrong with the outbox, and what was done about it. Empty: over."""

    text: str


@dataclass(frozen=True, slots=True)
class FileReplaced:
    """News: a fresh file is in the place of a damaged one."""

    aside: str


@dataclass(frozen=True, slots=True)
class PriorRefused:
    """News: a prior is not used, and the built-in one instead."""

    text: str


News = Written | Trouble | FileReplaced | PriorRefused


def open_outbox(settings: Settings, new_id: Callable[[int], bytes]) -> tuple[Outbox, str]:
    """The outbox, with the stream that a crash cut short finished, and where a damaged file went ("" for nowhere).

    Raises OutboxError, or OutboxBusy where another try may help.
    """
    try:
        return _opened(settings, new_id), ""
    except OutboxDamaged:
        aside = set_aside(settings.path)
        return _opened(settings, new_id), aside


def _opened(settings: Settings, new_id: Callable[[int], bytes]) -> Outbox:
    outbox = Outbox(settings.path, new_id, synchronous=settings.synchronous, side_log=settings.side_log)
    try:
        _finish(outbox)
    except BaseException:
        outbox.close()
        raise
    return outbox


def _finish(outbox: Outbox) -> None:
    unfinished = outbox.unfinished()
    if unfinished is None:
        return
    stream, end, journal = unfinished
    try:
        schema = stored_schema(outbox, stream.schema_hash)
        guards = stored_guards(outbox, end.guards_hash)
        prior = _prior_or_none(outbox, stream.facts.prior_hash, len(schema.signals))
    except SchemaError:
        # Without its schema nothing can be made of the journal: its records become a gap.
        journal = [(row, False) for row, _ in journal]
        schema, guards, prior = None, GuardSet(), None
    outbox.commit(finish_stream(schema, guards, prior, stream, end, journal), limit_bytes=1 << 62)


def stored_schema(outbox: Outbox, schema_hash: bytes) -> Schema:
    """The one of that hash. Raises SchemaError where the outbox has no such schema."""
    content = outbox.blob(BlobKind.SCHEMA, schema_hash)
    if content is None:
        raise SchemaError(f"schema {schema_hash.hex()} is damaged, or not here")
    return unpack_schema(content)


def stored_guards(outbox: Outbox, guards_hash: bytes) -> GuardSet:
    """The set of that hash. Raises SchemaError where the outbox has no such set."""
    if not guards_hash:
        return GuardSet()
    content = outbox.blob(BlobKind.GUARDS, guards_hash)
    if content is None:
        raise SchemaError(f"guards {guards_hash.hex()} are damaged, or not here")
    return GuardSet.from_bytes(content)


def stored_prior(outbox: Outbox, name: bytes, signals: int) -> Prior | None:
    """The prior of that name; None: the built-in one. Raises DamagedBlock where the outbox has no such prior."""
    if not name:
        return None
    content = outbox.blob(BlobKind.PRIOR, name)
    if content is None:
        raise DamagedBlock(f"prior {name.hex()} is damaged, or not here")
    return Prior.from_bytes(content, signals)


def _prior_or_none(outbox: Outbox, name: bytes, signals: int) -> Prior | None:
    try:
        return stored_prior(outbox, name, signals)
    except DamagedBlock:
        return None


class Capture:
    """One agent's records on their way into its outbox."""

    def __init__(
        self,
        schema: Schema,
        sampler: Sampler,
        outbox: Outbox,
        settings: Settings,
        *,
        new_id: Callable[[int], bytes],
        tell: Callable[[News], None],
    ) -> None:
        self.outbox = outbox
        self.mode = Mode.OFFLINE
        self.stretch = 1
        self.record_count = 0  # of this run
        self.priors_refused = 0
        self._schema = schema
        self._sampler = sampler
        self._settings = settings
        self._new_id = new_id
        self._tell = tell
        self._unwritten = Commit()
        self._trouble = ""
        self._lost = False  # the file is damaged, and there is no other one yet
        self._aside = ""
        self._silent_since_ns = 0
        self._sampled = _Sampled(settings.path) if settings.side_log else None
        self.pipeline = self._new_pipeline()

    @property
    def outbox_id(self) -> bytes:
        """Which outbox is written; empty while there is none."""
        return b"" if self._lost else self.outbox.outbox_id

    def was(self, outbox_id: bytes) -> bool:
        """Whether its file went under that id since it was opened: a fork is the same file."""
        return not self._lost and outbox_id in self.outbox.ids

    @property
    def full(self) -> bool:
        """Whether so much waits for the disk that nothing more may be taken."""
        return self._unwritten.size_bytes > UNWRITTEN_BYTES_MAX

    @property
    def waiting(self) -> bool:
        """Whether something waits for the disk."""
        return bool(self._unwritten or self._lost)

    # Frames and time

    def take(self, frames: Frames, clock: Clock) -> None:
        """Frames in order; see `merge`. `clock` is what a keyframe would say of the time."""
        at = 0
        while at < len(frames):
            part = frames.take(slice(at, at + TAKE_FRAMES))
            at += self._sampler.feed(part, self.pipeline.room)
            self._records(self._sampler.advance(), clock)

    def advance(self, until_ns: int, clock: Clock) -> None:
        """Time has passed `until_ns`, with or without frames."""
        while runs := self._sampler.advance(until_ns, self.pipeline.room):
            self._records(runs, clock)

    def parked(self, now_ns: int) -> bool:
        """Whether the buses have been silent for so long that the vehicle counts as parked."""
        self._silent_since_ns = self._sampler.newest_ns or self._silent_since_ns or now_ns
        return now_ns - self._silent_since_ns > self._settings.park_after_ns

    def finish_log(self, clock: Clock) -> None:
        """Every bus was a log that ended: take the ticks that its last frames belong to."""
        if self._sampler.newest_ns is not None:
            period = self._schema.period_ns
            self.advance(-(-self._sampler.newest_ns // period) * period, clock)

    def flush(self, clock: Clock) -> None:
        """Store the block being filled."""
        self._write(self.pipeline.flush(clock))

    def _store_all(self, clock: Clock) -> None:
        """Nothing waits, in the pipeline or for the disk. Raises OutboxBusy: try again later."""
        if not self.waiting:
            self.flush(clock)
        if self.waiting:
            raise OutboxBusy(self._trouble)

    def _records(self, runs: Iterable[Records], clock: Clock) -> None:
        for records in runs:
            self.record_count += len(records)
            if self._sampled is not None:
                self._sampled.add(records)
            self._write(self.pipeline.add(records, clock))

    # Writing

    def retry(self) -> None:
        """Try again what could not be written."""
        if self.waiting:
            self._write(Commit())

    def _write(self, commit: Commit) -> None:
        self._unwritten = self._unwritten.then(commit)
        if self._lost and not self._begin_file():
            return
        if not self._unwritten:
            return
        batches = self._unwritten.batches
        try:
            if self.outbox.commit(self._unwritten, limit_bytes=self._limit_bytes()):
                self.pipeline.ask_keyframe()
        except OutboxBusy as error:
            self._say(str(error))
            return
        except OutboxDamaged as error:
            self.replace_file(str(error))
            return
        self._unwritten = Commit()
        self._say("")
        if batches:
            crossed = any(batch.crossing for batch in batches)
            stream_no, end_tick = self.pipeline.name.stream_no, self.pipeline.end_tick or 0
            self._tell(Written(batches[-1].end, stream_no, end_tick, crossed=crossed))

    def _limit_bytes(self) -> int:
        """The quota, or what the file has already where the disk is nearly full: it does not shrink, so evicting
        more would cost records and free nothing.
        """
        try:
            disk = shutil.disk_usage(Path(self._settings.path).parent)
        except OSError:
            return self._settings.quota_bytes
        spare = max(0, disk.free - int(disk.total * DISK_FREE_SHARE))
        quota = self._settings.quota_bytes
        return quota if spare >= quota else min(quota, self.outbox.file_bytes() + spare)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell(Trouble(trouble))

    def replace_file(self, why: str) -> None:
        """Go on in a fresh file. That something is missing, the fresh one says by whose place it takes.

        What is unwritten goes with its stream. Where the disk takes no fresh file yet, everything waits in memory.
        """
        self._tell(Trouble(why))
        self._lost = True
        self.outbox.close()
        self._aside = ""
        filling, clock = self.pipeline.filling, self.pipeline.clock
        self.pipeline = self._pipeline(0, self.pipeline.guards, self.pipeline.prior)
        self._unwritten = Commit() if filling is None else self.pipeline.add(filling, clock)
        self._write(Commit())

    def _begin_file(self) -> bool:
        """Whether there is a fresh file now in the place of the one that is lost."""
        guards, prior = self.pipeline.guards, self.pipeline.prior
        try:
            self._aside = self._aside or set_aside(self._settings.path)
            fresh = _opened(self._settings, self._new_id)
        except OSError as error:
            self._say(f"{error.filename}: {error.strerror}; make the folder and the disk writable")
            return False
        except OutboxDamaged as error:
            self._aside = ""  # that one, too
            self._say(str(error))
            return False
        except (OutboxBusy, OutboxError) as error:
            self._say(str(error))
            return False
        try:
            fresh.keep_schema(self._schema.hash, pack_schema(self._schema))
            if guards.hash:
                fresh.keep_guards(guards.hash, guards.to_bytes())
            if prior is not None:
                fresh.keep_prior(self._schema.hash, prior.hash, prior.content)
        except (OutboxBusy, OutboxDamaged) as error:
            fresh.close()
            if isinstance(error, OutboxDamaged):
                self._aside = ""  # that one, too
            self._say(str(error))
            return False
        fresh.spent = self.outbox.spent
        self.outbox, self._lost = fresh, False
        self._tell(FileReplaced(self._aside))
        return True

    def _new_pipeline(self) -> Pipeline:
        """A stream of its own. Raises OutboxBusy where its schema cannot be kept."""
        self._keep_schema()
        return self._begin_stream()

    def _keep_schema(self) -> None:
        self.outbox.keep_schema(self._schema.hash, pack_schema(self._schema))

    def _begin_stream(self) -> Pipeline:
        try:
            guards = stored_guards(self.outbox, self.outbox.guards_hash)
        except SchemaError:
            guards = GuardSet()  # Hello names none then, and the collector sends them again
            self.outbox.keep_guards(b"", b"")
        return self._pipeline(self.outbox.next_stream_no(), guards, self._prior_in_force())

    def _prior_in_force(self) -> Prior | None:
        name = self.outbox.prior_hash(self._schema.hash)
        try:
            return stored_prior(self.outbox, name, len(self._schema.signals))
        except DamagedBlock as error:
            self.refuse_prior(str(error))  # Hello names none then, and the collector sends it again
            return None

    def _pipeline(self, stream_no: int, guards: GuardSet, prior: Prior | None) -> Pipeline:
        return Pipeline(
            self._schema,
            StreamName(stream_no, self._new_id(16), self._settings.boot_id),
            self._settings.ticks,
            guards=guards,
            prior=prior,
            mode=self.mode,
            stretch=self.stretch,
            side_log=self._settings.side_log,
        )

    # What the collector asks for

    def set_wanted(self, wanted: int) -> None:
        """Everything before `wanted` is acknowledged, and nothing else. Kept with the next commit."""
        self.outbox.wanted = wanted

    def set_mode(self, mode: Mode) -> None:
        self.mode = self.pipeline.mode = mode

    def set_spent(self, spent: Spent, stretch: int) -> None:
        """What the link has cost: kept with the next commit. Blocks become so many times as long."""
        self.outbox.spent = spent
        self.stretch = self.pipeline.stretch = stretch

    def set_guards(self, guards_hash: bytes, content: bytes) -> None:
        """In force from the next block. Raises OutboxBusy: to be done again."""
        guards = GuardSet.from_bytes(content) if guards_hash else GuardSet()
        if self._lost:
            raise OutboxBusy(self._trouble)
        self.outbox.keep_guards(guards_hash, content)
        self.pipeline.set_guards(guards)

    def set_prior(self, content: bytes, clock: Clock) -> None:
        """What a stream that begins now starts from. Raises OutboxBusy: to be done again; DamagedBlock: it is no prior.

        A stream has one prior: to name another in every keyframe would cost more than it saves.
        """
        prior = Prior.from_bytes(content, len(self._schema.signals))
        if prior.hash == self.prior_hash:
            return
        self._store_all(clock)
        self.outbox.keep_prior(self._schema.hash, prior.hash, content)
        self.pipeline = self._begin_stream()

    def refuse_prior(self, why: str) -> None:
        self.priors_refused += 1
        self._tell(PriorRefused(why))

    @property
    def prior_hash(self) -> bytes:
        """In force; empty: the built-in one."""
        return self.pipeline.prior_hash

    def mend(self, position: int, *, again: bool = False) -> None:
        """See `Outbox.mend`. Raises OutboxBusy: to be done again; OutboxDamaged."""
        if self.outbox.mend(position, again=again):
            self.pipeline.ask_keyframe()

    def fork(self, clock: Clock) -> None:
        """See `Outbox.fork`. Raises OutboxBusy: to be done again."""
        self._store_all(clock)
        self._keep_schema()  # what may fail comes before the fork, and nothing after it
        self.outbox.fork()
        self.pipeline = self._begin_stream()

    def written(self) -> Written:
        """As it is now, for whoever sends to begin with."""
        end = position_of(self.outbox.next_stream_no(), 0)
        return Written(end, self.pipeline.name.stream_no, self.pipeline.end_tick or 0)

    def close(self) -> None:
        if not self._lost:
            self.outbox.close()
        if self._sampled is not None:
            self._sampled.close()


class _Sampled:
    """How many records ever left the sampler, in a mapped file: a SIGKILL leaves it as it is. Demo mode only."""

    def __init__(self, outbox_path: str) -> None:
        file = Path(outbox_path + ".sampled")
        if not file.exists() or file.stat().st_size != _SAMPLED.size:
            file.write_bytes(bytes(_SAMPLED.size))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), _SAMPLED.size)
        self._count, _ = _SAMPLED.unpack(self._map[:])

    def add(self, records: Records) -> None:
        self._count += len(records)
        self._map[:] = _SAMPLED.pack(self._count, records.end_tick - 1)

    def close(self) -> None:
        self._map.close()
