"""A session, and the outbox that carries out what it asks for."""

from __future__ import annotations

from collections import deque

from edge_agent import events
from edge_agent.allowance import Allowance
from edge_agent.events import Fetch, FetchDone, Received, Send, SetWanted, Stored
from edge_agent.flight import Flight
from edge_agent.outbox_reader import OutboxReader
from edge_agent.rows import position_of
from edge_agent.session import Session
from protos import telemetry_pb2 as pb
from tests.edge_agent.samples import IDENTITY, RATE_HZ

BIG = 1 << 20


def position(stream_no: int, seq: int) -> pb.Position:
    return pb.Position(stream_no=stream_no, seq=seq)


class Side:
    """`sent` is what it said, `others` what else it asked for."""

    def __init__(self, path, *, wanted: int = 0, allowance: Allowance | None = None) -> None:
        self.reader = OutboxReader(str(path))
        self.session = Session(
            rate_hz=RATE_HZ,
            heartbeat_ns=60,
            backlog_heartbeat_ns=2,
            allowance=allowance,
            flight=Flight(limit_bytes=BIG),
        )
        self.sent: list[pb.Up] = []
        self.others: list[events.Action] = []
        self.wanted = wanted
        self.hear(events.Opened(IDENTITY, self.reader.extent(wanted), wanted))

    def hear(self, *heard) -> None:
        waiting = deque(heard)
        while waiting:
            event = waiting.popleft()
            for action in self.session.handle(Received(event) if isinstance(event, pb.Down) else event):
                match action:
                    case Send(message=message):
                        self.sent.append(pb.Up.FromString(message.SerializeToString()))
                    case Fetch(start=start, bytes_max=bytes_max):
                        waiting.append(FetchDone(start, self.reader.fetch(start, bytes_max=bytes_max)))
                    case events.FetchAgain(start=start, end=end):
                        fetched = self.reader.fetch(start, bytes_max=BIG, end=end)
                        waiting.append(FetchDone(start, fetched, again=True))
                    case events.FindStored(position=place):
                        waiting.append(events.StoredFound(*self.reader.stored(place)))
                    case events.FindStream(stream_no=stream_no):
                        waiting.append(events.StreamFound(self.reader.described(stream_no)))
                    case events.FindBlob(kind=kind, hash=name):
                        waiting.append(events.BlobFound(kind, name, self.reader.blob(kind, name)))
                    case SetWanted(wanted=wanted):
                        self.wanted = wanted
                    case _:
                        self.others.append(action)

    def welcome(
        self, *, window: int = BIG, end: int | None = None, stream_no: int = 9, tick: int = 0, **more
    ) -> None:
        newest = Stored(end if end is not None else position_of(1 << 20, 0), stream_no, tick)
        self.hear(newest, pb.Down(welcome=pb.Welcome(window_bytes=window, max_block_version=1, **more)))

    def batches(self) -> list[tuple[int, int]]:
        """(stream_no, seq) of what was sent, gaps by their first seq."""
        named = {
            message.stream.alias: message.stream.stream_no
            for message in self.sent
            if message.HasField("stream")
        }
        return [
            (named[row.alias], row.seq if isinstance(row, pb.Batch) else row.first_seq)
            for message in self.sent
            if (
                row := message.batch
                if message.HasField("batch")
                else message.gap
                if message.HasField("gap")
                else None
            )
        ]

    def of(self, kind):
        return [action for action in self.others if isinstance(action, kind)]
