"""How a bus is: what frames, error frames, silence and failures make of its state. Pure.

    down --the first read that worked--> up <--frames-- silent, bus_off
    up --nothing for SILENT_NS--> silent      any --error frame--> bus_off      any --its driver failed--> down

Rules
- A bus counts as open once a read has worked: a socket on an interface that is down opens, and fails at its first read.
- Whatever was lost, or broke, is counted: in frames where somebody knows how many, otherwise once each time.
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.schema import NS

SILENT_NS = 2 * NS
TROUBLE_CHARACTERS_MAX = 300  # drivers say what they like, and it goes into every heartbeat

# Classes of SocketCAN's error frames, in their ID, and what byte 1 of a controller's says. Source: linux/can/error.h.
CONTROLLER, BUS_OFF, RESTARTED = 0x4, 0x40, 0x100
RX_OVERFLOW = 0x1


@dataclass(slots=True)
class BusState:
    """For heartbeat and status, whose words its fields are. Written by the bus's own thread alone."""

    name: str
    state: str = "down"  # up, silent, bus_off, down, ended
    trouble: str = ""
    frames: int = 0
    error_frames: int = 0
    frames_overrun: int = 0  # lost before they were read: the kernel's or the controller's queue was full
    times_down: int = 0  # unplugged, switched off, failed
    times_bus_off: int = 0
    last_frame_ns: int = 0  # on CLOCK_BOOTTIME; before the first one: when it was opened

    def opened(self, now_ns: int) -> None:
        """It is silent from now on at the earliest."""
        self.last_frame_ns = now_ns

    def read(self, frames: int, now_ns: int) -> None:
        """A read worked, and gave so many frames."""
        self.frames += frames
        if frames:
            self.last_frame_ns = now_ns
        elif self.state == "bus_off":
            return
        self.state = "silent" if now_ns - self.last_frame_ns > SILENT_NS else "up"
        self.trouble = ""

    def error_frame(self, classes: int, data: bytes) -> None:
        """`classes`: bits of SocketCAN's error classes; 0 where the driver gives none."""
        self.error_frames += 1
        if classes & CONTROLLER and data[1:2] and data[1] & RX_OVERFLOW:
            self.frames_overrun += 1  # one at least
        if classes & RESTARTED and self.state == "bus_off":
            self.state, self.trouble = "up", ""
        elif classes & BUS_OFF and self.state != "bus_off":
            self.times_bus_off += 1
            self.state = "bus_off"
            self.trouble = (
                f"{self.name}: its controller has left the bus after too many errors; check wiring and bit rate, and let "
                "the kernel start it again: ip link set IFACE type can restart-ms 100"
            )

    def failed(self, trouble: str) -> None:
        """Its driver raised, or it cannot be opened."""
        self.times_down += self.state != "down"
        self.state, self.trouble = "down", trouble[:TROUBLE_CHARACTERS_MAX]

    def ended(self, trouble: str = "") -> None:
        """A log was read to its end, or cannot be read at all."""
        self.state, self.trouble = "ended", trouble
