"""A short torture, and what finds nothing when there is something to find."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.torture.__main__ import report, torture
from tests.torture.disk import build
from tests.torture.planted import BUGS
from tests.torture.stage import drained


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return None
    return build(tmp_path_factory.mktemp("disk"))


@pytest.mark.timeout(600)
def test_a_short_torture_comes_out_whole(tmp_path, library):
    result = asyncio.run(torture(tmp_path, 1, kills=16, wall_s=8.0, library=library))
    assert not result.complaints, report(result)
    assert report(result).endswith("WHOLE")
    assert sum(result.done.values()) >= 20
    assert library is None or result.failed_calls


RUNS_MAX = 6
STALL_S = 5.0  # what was acknowledged too early may never come to an end


@pytest.mark.timeout(600)
def test_planted_bugs_are_found(tmp_path):
    """The instants are the machine's: a kill has to fall into the moment between an ack and its commit."""
    wanted = {
        "durable up to",  # acknowledged before it was committed
        "neither stored nor in a gap",  # a journal that nobody finished
    }
    for seed in range(2, 2 + RUNS_MAX):
        result = asyncio.run(
            torture(
                tmp_path / str(seed), seed, kills=16, wall_s=5.0, library=None, planted=BUGS, stall_s=STALL_S
            )
        )
        wanted = {words for words in wanted if words not in report(result)}
        if not wanted:
            break
    assert not wanted


class Draining:
    """An agent whose acks come slowly; it ends with the last of them, if it is not stuck."""

    def __init__(self, acks: int, *, stuck: bool) -> None:
        self.acked: dict[bytes, int] = {}
        self._left, self._stuck = acks, stuck

    async def wait(self, _: float) -> bool:
        return self._left == 0 and not self._stuck

    def read(self) -> None:
        if self._left:
            self._left -= 1
            self.acked[b"outbox"] = self.acked.get(b"outbox", 0) + 1


@pytest.mark.parametrize("stuck", [False, True])
def test_a_drain_takes_as_long_as_something_is_acknowledged(stuck):
    agent = Draining(50, stuck=stuck)
    assert asyncio.run(drained(agent, agent, 1.0)) is not stuck
    assert agent.acked == {b"outbox": 50}
