"""The proxy cuts and restores, and no byte passes it uncounted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from demo.proxy import Proxy, Road


@contextlib.asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[tuple[Proxy, int]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1000):
                writer.write(chunk + chunk)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield proxy, await proxy.lay("car")
    finally:
        await proxy.close()
        server.close()
        await server.wait_closed()


async def test_counts_every_byte_both_ways():
    async with echo_behind_proxy() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 100_000)
        assert await reader.readexactly(200_000) == b"x" * 200_000
        writer.close()
        await writer.wait_closed()
    traffic = proxy.traffic("car")
    assert (traffic.up_bytes, traffic.down_bytes, traffic.total_bytes) == (100_000, 200_000, 300_000)


async def test_a_refused_road_resets_what_is_connected_and_refuses_what_comes():
    async with echo_behind_proxy() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        await reader.readexactly(2)
        assert proxy.connected("car")
        await proxy.set_road("car", Road.REFUSED)
        assert not proxy.connected("car")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_restored_on_the_same_port():
    async with echo_behind_proxy() as (proxy, port):
        await proxy.set_road("car", Road.REFUSED)
        await proxy.set_road("car", Road.OPEN)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ab")
        assert await reader.readexactly(4) == b"abab"
        writer.close()
        await writer.wait_closed()


async def test_a_silent_road_swallows_and_counts_and_resets_when_it_ends():
    async with echo_behind_proxy() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await proxy.set_road("car", Road.SILENT)
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a" * 10)
        late_writer.write(b"b" * 5)
        async with asyncio.timeout(10):
            while proxy.traffic("car").up_bytes < 15:
                await asyncio.sleep(0.001)
        assert proxy.traffic("car").down_bytes == 0
        await proxy.set_road("car", Road.OPEN)
        for end in (reader, late_reader):
            with pytest.raises(ConnectionResetError):
                await end.readexactly(1)


async def test_a_stalled_road_holds_bytes_back_and_then_gives_them_up():
    async with echo_behind_proxy() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await proxy.set_road("car", Road.STALLED)
        writer.write(b"a" * 10)
        async with asyncio.timeout(10):
            while proxy.traffic("car").up_bytes < 10:
                await asyncio.sleep(0.001)
        assert proxy.traffic("car").down_bytes == 0
        await proxy.set_road("car", Road.OPEN)
        async with asyncio.timeout(10):
            assert await reader.readexactly(10) == b"a" * 10


async def test_a_collector_that_is_down_looks_like_a_reset():
    proxy = Proxy("127.0.0.1", 1)  # nobody listens on port 1
    port = await proxy.lay("car")
    reader, _writer = await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    await proxy.close()


async def test_other_lanes_go_on():
    async with echo_behind_proxy() as (proxy, port):
        await proxy.lay("other")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await proxy.set_road("other", Road.REFUSED)
        writer.write(b"a")
        assert await reader.readexactly(2) == b"aa"
        assert (proxy.road("car"), proxy.road("other")) == (Road.OPEN, Road.REFUSED)
        writer.close()
        await writer.wait_closed()
