"""A stream whose next batch is wanted: its mirrored predictor, the guards in force, and how far it was decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.errors import CodecError, DamagedBlock, UnknownBlock
from codec.guards import GuardSet
from codec.priors import Prior
from codec.stream_decoder import StreamDecoder
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from codec.records import Records
    from codec.stream import DecodedBlock, Keyframe
    from codec.stream_decoder import Opened
    from collector.ingest.changes import Ledger
    from collector.ingest.progress import Progress
    from collector.ingest.readings import Reading
    from collector.items import Description

SEQ_MAX = 1 << 62
TICK_MAX = 1 << 53  # 285 million years at 1000 Hz: beyond lies damage, and arithmetic that does not fit int64


class ActiveStream:
    """Decodes one stream in order. A restart builds it again from stored blocks, never from a guess."""

    def __init__(self, description: Description, reading: Reading, label: tuple[int, bool]) -> None:
        self.description = description
        self.stream_no = description.facts.stream_no
        self.offset_ns, self.synchronised = label  # what readers' times are made with
        self.reading = reading
        self.schema = reading.schema
        self.bound = reading.bound
        self.guards_hash = description.facts.guards_hash
        self.guards_known = False
        self.exact = reading.exact  # codes of the rules whose verdicts are exact under these guards
        self.unread: UnknownBlock | None = None  # a stored block that cannot be read now
        self.next_seq = 0  # after the last block that was decoded
        self._ledger: Ledger | None = None  # of the call under way
        self.decoder = self.fresh_decoder()

    def fresh_decoder(self) -> StreamDecoder:
        return StreamDecoder(self.schema, self.description.facts, find_prior=self._prior)

    def _prior(self, name: bytes) -> Prior | None:
        assert self._ledger is not None
        # Looked up at every keyframe, so that nothing is acknowledged that readers of the store could not decode; parsed
        # once for all streams, as long as `codec.priors` keeps it.
        content = self._ledger.blob(pb.BLOB_KIND_PRIOR, name)
        return None if content is None else Prior.from_bytes(content, len(self.schema.signals))

    def rebuild(self, progress: Progress, ledger: Ledger, outbox: int) -> None:
        """Decode the stored blocks of the last keyframe group. Where one is bad, the rest waits for a repair."""
        if progress.group_seq is None:
            return
        for seq, content in ledger.blocks(outbox, self.description.facts.stream_no, progress.group_seq):
            try:
                decoded = self.decode(seq, content, ledger)
            except UnknownBlock as error:
                self.unread = error
                return
            except DamagedBlock:
                return
            self.note(decoded, ledger)

    def recent(
        self, ledger: Ledger, outbox: int, first_tick: int, end_tick: int | None, *, all_of_it: bool = False
    ) -> Iterator[Records]:
        """The stored records from first_tick on, and some before, up to end_tick; those that no other outbox has.

        Up to the block that was decoded last, without it unless `all_of_it`. Where a block claims the ticks of those after it,
        they have them: none comes twice.
        """
        decoder = self.fresh_decoder()
        end_seq = SEQ_MAX if all_of_it else self.next_seq - 1
        before: Records | None = None
        for seq, skip, content in ledger.blocks_back_to(outbox, self.stream_no, first_tick, end_seq):
            try:
                records = self.decode(seq, content, ledger, decoder).records
            except CodecError:
                continue  # a hole in what is looked back on, as it is for readers
            if before is not None and (sound := before.until(records.first_tick)):
                yield sound
            before = records.slice(min(skip, len(records)), len(records))
        if before is not None and (sound := before if end_tick is None else before.until(end_tick)):
            yield sound

    def open(
        self,
        seq: int,
        content: bytes,
        ledger: Ledger,
        decoder: StreamDecoder | None = None,
        end_tick: int | None = None,
    ) -> Opened:
        """A block, as far as its header tells. Raises DamagedBlock or UnknownBlock.

        `end_tick`: the tick after the last record so far; a block that begins before it is damaged.
        """
        self._ledger = ledger
        opened = (decoder or self.decoder).open(seq, content)
        if not -TICK_MAX <= opened.first_tick <= TICK_MAX:
            raise DamagedBlock(f"block {seq} begins at the impossible tick {opened.first_tick}")
        if end_tick is not None and opened.first_tick < end_tick:
            raise DamagedBlock(
                f"block {seq} begins at tick {opened.first_tick}, but the one before ended at {end_tick}"
            )
        return opened

    def decode(
        self, seq: int, content: bytes, ledger: Ledger, decoder: StreamDecoder | None = None
    ) -> DecodedBlock:
        """Raises DamagedBlock or UnknownBlock. Another decoder leaves this stream's alone."""
        decoder = decoder or self.decoder
        return decoder.read(self.open(seq, content, ledger, decoder))

    def keyframe(self, seq: int, content: bytes, ledger: Ledger) -> Keyframe | None:
        """What a block says of itself; None where it is no keyframe, or cannot be read."""
        try:
            return self.open(seq, content, ledger, self.fresh_decoder()).keyframe
        except CodecError:
            return None

    def decode_group(
        self, contents: Mapping[int, bytes], first_seq: int, last_seq: int, ledger: Ledger
    ) -> list[DecodedBlock]:
        """The blocks first_seq..last_seq from their contents alone; this stream goes on after them. Raises CodecError."""
        decoder = self.fresh_decoder()
        decoded: list[DecodedBlock] = []
        for seq in range(first_seq, last_seq + 1):
            if seq not in contents:
                raise DamagedBlock(f"block {seq} was not sent again")
            before = decoder.group_digest
            end_tick = decoded[-1].records.end_tick if decoded else None
            block = decoder.read(self.open(seq, contents[seq], ledger, decoder, end_tick))
            if decoded and block.keyframe is not None and block.keyframe.previous_digest not in (0, before):
                raise DamagedBlock(f"block {seq} ends another group than the one that was sent again")
            decoded.append(block)
        self.decoder = decoder
        return decoded

    def note(self, decoded: DecodedBlock, ledger: Ledger) -> None:
        """After a block was decoded: from a keyframe on, its guards are in force."""
        self.next_seq = decoded.seq + 1
        if decoded.keyframe is None:
            return
        name = decoded.keyframe.guards_hash
        if name != self.guards_hash or not self.guards_known:
            stored = ledger.blob(pb.BLOB_KIND_GUARDS, name) if name else b"[]"
            self.guards_hash, self.guards_known = name, stored is not None
            self.exact = self.bound.exact_under(GuardSet.from_bytes(stored) if stored is not None else None)

    def group_digest(self, progress: Progress) -> int | None:
        """Digest of the group up to what is wanted; None where it is not whole here."""
        whole = progress.group_seq is not None and self.next_seq == progress.wanted.seq
        return self.decoder.group_digest if whole else None
