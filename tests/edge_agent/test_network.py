"""What counts as news of the network, and that Linux tells it."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.network import NetworkNews, came_back


def message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(flags: int) -> bytes:
    return message(16, struct.pack("=BxHiII", 0, 1, 2, flags, 0))


@pytest.mark.parametrize(
    ("datagram", "news"),
    [
        (link(0x40), True),
        (link(0x1), False),  # up, and no carrier
        (message(20), True),
        (message(24), True),
        (message(17), False),  # a link that went
        (message(25), False),
        (message(3) + message(24), True),
        (link(0)[:18], False),
        (b"", False),
    ],
    ids=["carrier", "no carrier", "address", "route", "link gone", "route gone", "second", "cut", "empty"],
)
def test_only_what_may_be_a_way_where_there_was_none_is_news(datagram, news):
    assert came_back(datagram) is news


@given(st.binary(max_size=200))
def test_no_datagram_raises(datagram):
    assert came_back(datagram) in (True, False)


async def test_a_loop_without_netlink_goes_on_without_news(monkeypatch):
    monkeypatch.delattr("socket.AF_NETLINK")
    NetworkNews(asyncio.get_running_loop(), lambda: None).close()


IN_A_NAMESPACE = """
import asyncio, subprocess
from edge_agent.network import NetworkNews
async def main():
    told = asyncio.Event()
    news = NetworkNews(asyncio.get_running_loop(), told.set)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    await asyncio.wait_for(told.wait(), 10)
    news.close()
asyncio.run(main())
"""


@pytest.mark.skipif(
    shutil.which("ip") is None
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs ip and a network namespace of its own",
)
def test_linux_tells_when_a_link_comes_up():
    ended = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", IN_A_NAMESPACE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
