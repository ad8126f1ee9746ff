"""Links and connections: messages arrive in order or not at all, as TCP has it; connections know nothing of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.schema import NS
from protos import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.world import World

NOTICED_NS = 30 * NS  # an agent notices a dead link within that (keepalive_timeout and some)
STATION_NOTICED_NS = 320 * NS  # a collector with nothing to send finds out by its own pings


class Link:
    """A vehicle's way to the collector."""

    def __init__(self, world: World) -> None:
        self.up = True
        self.delay_ns = world.rng.choice((5, 50, 400)) * NS // 1000
        self.bytes_per_s = 0  # towards the collector; 0: no limit
        self.connections: list[Connection] = []
        self.cut_at_ack = False  # the next ack does not arrive

    def cut(self, *, noticed: bool) -> None:
        for connection in list(self.connections):
            connection.cut(noticed=noticed)


class _Lane:
    """One direction of a connection."""

    def __init__(self, world: World, link: Link, deliver: Callable[[bytes], None], *, up: bool) -> None:
        self._world, self._link, self._deliver, self._up = world, link, deliver, up
        self._free_ns = 0  # when the modem has sent all that waits in it
        self._arrives_ns = 0
        self._lost_from_ns: int | None = None

    def send(self, message: bytes) -> None:
        """To be delivered after everything that was sent before."""
        delay = self._world.rng.randint(self._link.delay_ns // 2, self._link.delay_ns)
        rate = self._link.bytes_per_s if self._up else 0
        self._free_ns = max(self._free_ns, self._world.now_ns) + (len(message) * NS // rate if rate else 0)
        at = self._arrives_ns = max(self._arrives_ns, self._free_ns + delay)
        self._world.at(at - self._world.now_ns, lambda: self._arrived(at, message))

    def cut(self) -> None:
        """Some of what is on its way arrives, nothing after that."""
        if self._lost_from_ns is None:
            self._lost_from_ns = self._world.now_ns + self._world.rng.randint(0, self._link.delay_ns)

    def close(self, then: Callable[[], None]) -> None:
        """Nothing more will be sent; the other end hears of it after what is on its way."""
        self._world.at(max(0, self._arrives_ns - self._world.now_ns) + 1, then)

    def _arrived(self, at: int, message: bytes) -> None:
        if self._lost_from_ns is None or at < self._lost_from_ns:
            self._deliver(message)


class Connection:
    """One call. `hear_down`, `agent_lost`: the vehicle's end; `hear_up`, `station_lost`: the collector's, once it accepts."""

    def __init__(
        self,
        world: World,
        link: Link,
        hear_down: Callable[[pb.Down], None],
        agent_lost: Callable[[str], None],
    ) -> None:
        self._world, self._link = world, link
        self._hear_down, self._agent_lost = hear_down, agent_lost
        self._up = _Lane(world, link, self._arrived_up, up=True)
        self._down = _Lane(world, link, self._arrived_down, up=False)
        self.hear_up: Callable[[pb.Up], None] = lambda _: None
        self.station_lost: Callable[[], None] = lambda: None
        self._agent_open = self._station_open = True
        self._vehicle = ""
        self._streams: dict[int, pb.StreamInfo] = {}  # by alias
        self.sent_up: list[bytes] = []  # for whoever replays it
        link.connections.append(self)

    def send_up(self, message: pb.Up) -> None:
        content = message.SerializeToString()
        self.sent_up.append(content)
        self._up.send(content)

    def send_down(self, message: pb.Down) -> None:
        if message.HasField("ack") and self._link.cut_at_ack:
            self._link.cut_at_ack = False
            self.cut(noticed=True)
        self._down.send(message.SerializeToString())

    def _arrived_up(self, content: bytes) -> None:
        if self._station_open:
            message = pb.Up.FromString(content)
            if message.HasField("hello"):
                self._vehicle = message.hello.vehicle
            if message.HasField("stream"):
                self._streams[message.stream.alias] = message.stream
            self.hear_up(self._world.on_the_way(self._vehicle, self._streams, message))

    def _arrived_down(self, content: bytes) -> None:
        if self._agent_open:
            self._hear_down(pb.Down.FromString(content))

    def cut(self, *, noticed: bool) -> None:
        """The link breaks; both ends hear of it soon, or much later."""
        self._up.cut()
        self._down.cut()
        rng = self._world.rng
        self._world.at(rng.randint(0, NS) if noticed else NOTICED_NS, self._lose_agent)
        self._world.at(
            rng.randint(0, 2 * NS) if noticed else rng.randint(NS, STATION_NOTICED_NS), self._lose_station
        )

    def leave(self, *, cleanly: bool) -> None:
        """The agent ends it."""
        self._agent_open = False
        if not cleanly:
            self._up.cut()
        self._up.close(self._lose_station)
        self._gone()

    def vanish(self) -> None:
        """The vehicle lost power: nobody says anything."""
        self._agent_open = False
        self._up.cut()
        self._world.at(self._world.rng.randint(NS, STATION_NOTICED_NS), self._lose_station)
        self._gone()

    def end(self) -> None:
        """The collector ends it."""
        self._station_open = False
        self._down.close(self._lose_agent)

    def reset(self) -> None:
        """The collector died."""
        self._station_open = False
        self._down.cut()
        self._world.at(self._world.rng.randint(0, NS), self._lose_agent)

    def _lose_agent(self) -> None:
        if self._agent_open:
            self._agent_open = False
            self._gone()
            self._agent_lost("the link broke")

    def _lose_station(self) -> None:
        if self._station_open:
            self._station_open = False
            self.station_lost()

    def _gone(self) -> None:
        if self in self._link.connections:
            self._link.connections.remove(self)
