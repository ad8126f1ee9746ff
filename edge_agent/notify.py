"""Telling systemd how the agent is: READY, WATCHDOG, STOPPING, STATUS. Does nothing where no systemd asked."""

from __future__ import annotations

import os
import socket


class Notifier:
    """A datagram socket to $NOTIFY_SOCKET. Source: sd_notify(3), sd_watchdog_enabled(3)."""

    def __init__(self, environment: dict[str, str] | os._Environ[str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # abstract namespace
        self.watchdog_s = _watchdog_s(environment)
        self._socket = (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        )

    def send(self, **state: str | int) -> None:
        """`send(READY=1, STATUS="online")`."""
        if self._socket is None:
            return
        try:
            text = "\n".join(f"{key}={value}" for key, value in state.items())
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            pass  # a service manager that went away is not worth dying for

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_s(environment: dict[str, str] | os._Environ[str]) -> float | None:
    """How often to say WATCHDOG=1: at half of what systemd waits; None: never."""
    try:
        wanted_us = int(environment["WATCHDOG_USEC"])
        mine = int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid()
    except (KeyError, ValueError):
        return None
    return wanted_us / 2_000_000 if mine and wanted_us > 0 else None
