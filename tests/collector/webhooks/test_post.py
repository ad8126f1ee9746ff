from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from collector.webhooks.post import WHY_CHARACTERS_MAX, Delivered, Later, Never, new_client, post
from tests.collector.webhooks.receiver import receiving
from tests.collector.webhooks.samples import NOW, TARGET

SIGNED = replace(TARGET, secret=b"s3cret")


async def sent(*answers):
    with receiving() as receiver:
        receiver.answers.extend(answers)
        async with new_client() as client:
            result = await post(client, replace(SIGNED, url=receiver.url), "ops-1-2", b"{}", NOW)
    return result, receiver


async def test_a_receiver_gets_the_body_its_name_and_its_signature():
    result, receiver = await sent()
    assert result == Delivered()
    ((headers, body),) = receiver.received
    assert body == b"{}"
    assert headers["deadreckon-delivery"] == "ops-1-2"
    assert headers["deadreckon-signature"].startswith(f"t={NOW // 10**9},v1=")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ((500, {}, "out of order"), Later("HTTP 500 out of order")),
        ((429, {"retry-after": "7"}, ""), Later("HTTP 429 ", 7.0)),
        ((503, {"retry-after": "Sat, 28 Nov 2026 07:16:00 GMT"}, ""), Later("HTTP 503 ", 30.0)),
        ((503, {"retry-after": "soon"}, ""), Later("HTTP 503 ", None)),
        ((408, {}, ""), Later("HTTP 408 ")),
        ((404, {}, "no such hook"), Never("HTTP 404 no such hook")),
        ((301, {"location": "http://127.0.0.1:1/"}, ""), Never("HTTP 301 ")),
    ],
)
async def test_what_it_answers_decides_whether_it_is_tried_again(answer, result):
    got, receiver = await sent(answer)
    assert (type(got), got.why.strip(), getattr(got, "after_s", None)) == (
        type(result), result.why.strip(), getattr(result, "after_s", None),
    )  # fmt: skip
    assert len(receiver.received) == 1


async def test_no_more_of_its_words_are_kept_than_anybody_reads():
    result, _ = await sent((500, {}, "x" * 100_000))
    assert len(result.why) == WHY_CHARACTERS_MAX


async def test_where_nobody_listens_it_is_tried_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        target = replace(TARGET, url=f"http://127.0.0.1:{taken.getsockname()[1]}/")
        async with new_client() as client:
            result = await post(client, target, "ops-1-1", b"{}", NOW)
    assert isinstance(result, Later)
    assert "ConnectError" in result.why


async def test_an_address_that_is_none_is_never_tried_again():
    async with new_client() as client:
        assert isinstance(await post(client, replace(TARGET, url="http://[::1"), "x", b"{}", NOW), Never)
