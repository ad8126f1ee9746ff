"""The rules file while the collector runs: what is read when, and what a bad file changes."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import structlog

from collector.rules import RuleError
from collector.rules_file import RulesFile

RULE = '[[rule]]\ncode = "HOT"\nwhen = "Temp > {}"\nseverity = "INFO"\ndescription = "hot"\n'


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "rules.toml"
    made.write_text(RULE.format(45))
    return made


async def until(condition, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def watched(path):
    """(file, rules that came into force, what was logged)."""
    file = RulesFile(path, look_s=0.01)
    came: list[str] = []
    with structlog.testing.capture_logs() as told:
        watching = asyncio.create_task(file.watch(lambda rules: came.append(rules.rules[0].when)))
        yield file, came, told
        watching.cancel()


async def test_a_file_that_changes_is_read_again(path):
    async with watched(path) as (_, came, _told):
        path.write_text(RULE.format(40))
        await until(lambda: came == ["Temp > 40"])
        path.with_name("new").write_text(RULE.format(30))
        path.with_name("new").rename(path)
        await until(lambda: came == ["Temp > 40", "Temp > 30"])


async def test_a_bad_file_or_none_leaves_the_rules_in_force_and_says_once_what_is_wrong(path):
    async with watched(path) as (file, came, told):
        path.write_text(RULE.format(40) + "nonsense")
        await until(lambda: len(told) == 1)
        assert "not TOML" in told[0]["trouble"]
        assert str(path) in told[0]["trouble"]
        path.unlink()
        await until(lambda: len(told) == 2)
        assert "cannot be read" in told[1]["trouble"]
        assert file.rules.rules[0].when == "Temp > 45"
        path.write_text(RULE.format(40))
        await until(lambda: came == ["Temp > 40"])
        assert [line["log_level"] for line in told] == ["error", "error", "info"]


async def test_a_signal_reads_it_though_nothing_seems_to_have_changed(path):
    async with watched(path) as (file, came, told):
        file.ask()
        await until(lambda: told)
        assert "what it said before" in told[0]["event"]
        assert came == []


def test_a_collector_does_not_start_on_a_bad_file(path):
    path.write_text("nonsense")
    with pytest.raises(RuleError):
        RulesFile(path)
