from __future__ import annotations

import os
import socket

from edge_agent.notify import Notifier


def test_states_reach_the_service_manager(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.send(READY=1, STATUS="online")
        assert manager.recv(100) == b"READY=1\nSTATUS=online"
        notifier.close()


def test_without_a_service_manager_nothing_happens(tmp_path):
    Notifier({}).send(READY=1)
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.send(READY=1)
    gone.close()
    gone.send(READY=1)


def test_the_watchdog_is_told_twice_as_often_as_it_asks():
    assert Notifier({"WATCHDOG_USEC": "4000000"}).watchdog_s == 2
    assert Notifier({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid() + 1)}).watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_s is None
