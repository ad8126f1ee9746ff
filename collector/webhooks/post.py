"""One delivery over HTTP, and what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from collector.webhooks.body import headers_of

if TYPE_CHECKING:
    from collector.webhooks.targets import Target

TIMEOUT_S = 15.0  # of connecting, and of each wait for the receiver
PATIENCE_S = 60.0  # of all of it
WORTH_ANOTHER_TRY = frozenset({408, 425, 429})  # and all of 5xx. Source: RFC 9110, RFC 6585, RFC 8470
WHY_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Later:
    """It may work later; the receiver may have said when."""

    why: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """The receiver will not take it, however often it is sent."""

    why: str


Result = Delivered | Later | Never


def new_client() -> httpx.AsyncClient:
    """Follows no redirects: a signed body belongs to the address that somebody wrote down."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=True)


async def post(client: httpx.AsyncClient, target: Target, name: str, body: bytes, now_ns: int) -> Result:
    """Raises nothing that a receiver or a network can cause."""
    now_s = now_ns // 1_000_000_000
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            client.stream(
                "POST", target.url, content=body, headers=headers_of(target, name, body, now_s)
            ) as answer,
        ):
            said = "" if answer.is_success else await _beginning(answer)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        return Never(_short(f"{target.url}: {error}"))
    except (httpx.HTTPError, TimeoutError) as error:
        return Later(_short(f"{type(error).__name__} {error}"))
    if answer.is_success:
        return Delivered()
    why = _short(f"HTTP {answer.status_code} {said}")
    if answer.status_code in WORTH_ANOTHER_TRY or answer.is_server_error:
        return Later(why, _seconds(answer.headers.get("retry-after", ""), now_s))
    return Never(why)


async def _beginning(answer: httpx.Response) -> str:
    """What the receiver has to say, no more of it than anybody reads."""
    async for text in answer.aiter_text(WHY_CHARACTERS_MAX):
        return text
    return ""


def _seconds(text: str, now_s: int) -> float | None:
    """Of a Retry-After header, in seconds or as a date; None where it is neither."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.fromtimestamp(now_s, UTC)).total_seconds())


def _short(text: str) -> str:
    return " ".join(text.split())[:WHY_CHARACTERS_MAX]
