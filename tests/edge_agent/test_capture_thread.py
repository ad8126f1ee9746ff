"""Capture begins within a second, however long the outbox is looked at; what is found later counts all the same."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import queue
import secrets
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from decoder.frames import Frames
from decoder.sampler import Sampler
from edge_agent import commands, events
from edge_agent.app import settings_of
from edge_agent.capture import Capture, FileReplaced, Settings, Trouble, open_outbox
from edge_agent.capture_thread import Begun, CaptureThread, ParkedChanged
from edge_agent.choices import make_plan
from edge_agent.clock import now
from edge_agent.config_file import load_config
from edge_agent.errors import OutboxDamaged
from edge_agent.inbox import Inbox
from edge_agent.outbox import PAGE_BYTES, Outbox
from edge_agent.outbox_check import check
from edge_agent.outbox_reader import OutboxReader
from edge_agent.pipeline import BlockTicks
from tests.edge_agent.samples import HOT, SCHEMA, fill, ids, new_outbox, settings

WAIT_S = 20.0
ROWS = 100_000


@pytest.fixture
def path(tmp_path):
    outbox = new_outbox(tmp_path / "outbox.db")
    fill(outbox, 60)
    outbox.close()
    return tmp_path / "outbox.db"


def damage(path):
    """In the middle of the blocks, which nobody reads at the start."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2048] = b"\xff" * 2048
    path.write_bytes(content)


def damage_blobs(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'blobs'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)


@contextlib.contextmanager
def capturing(path):
    """News of a capture thread."""
    with thread_of(path) as (_, news):
        yield news


@contextlib.contextmanager
def thread_of(path):
    """A capture thread and its news."""
    news: queue.Queue[object] = queue.Queue()
    ticks = BlockTicks(offline=60, online=30, watched=10, keyframe=120, loss_max=10)
    settings = Settings(str(path), "OFF", 1 << 30, ticks, 60 * 10**9, bytes(16))
    thread = CaptureThread(
        SCHEMA, None, settings, Inbox(), 1, own_clock=True, new_id=secrets.token_bytes, tell=news.put
    )
    thread.start()
    yield thread, news
    thread.stop(WAIT_S)


def test_a_check_that_takes_too_long_is_left_for_later(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "long.db", check_same_thread=False)) as db:
        db.execute(
            "CREATE TABLE numbers AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i, zeroblob(200) AS filler FROM n",
            [ROWS],
        )
        assert not check(db, "long.db", within_s=0.001)
        assert check(db, "long.db")


def test_a_small_outbox_is_checked_before_it_is_used(path):
    damage(path)
    with capturing(path) as news:
        assert isinstance(news.get(timeout=WAIT_S), FileReplaced)
        assert isinstance(news.get(timeout=WAIT_S), Begun)


def test_damage_that_the_start_had_no_time_for_is_found_while_it_runs(path, monkeypatch):
    damage(path)
    with pytest.raises(OutboxDamaged), contextlib.closing(sqlite3.connect(path)) as db:
        check(db, str(path))
    monkeypatch.setattr("edge_agent.outbox.check", lambda *_, **__: False)
    with capturing(path) as news:
        begun = news.get(timeout=WAIT_S)
        assert isinstance(begun, Begun)
        while not isinstance(told := news.get(timeout=WAIT_S), Begun):
            pass
        assert told.replaces == begun.outbox_id


def test_damage_that_is_found_after_a_fork_is_that_files_too(path, monkeypatch):
    forked = threading.Event()

    def find(_reader):
        assert forked.wait(WAIT_S)
        raise OutboxDamaged("found late")

    monkeypatch.setattr("edge_agent.outbox.check", lambda *_, **__: False)
    monkeypatch.setattr(OutboxReader, "check", find)
    with thread_of(path) as (thread, news):
        begun = news.get(timeout=WAIT_S)
        fork = begun
        for _ in range(2):
            thread.post(commands.ToOutbox(fork.outbox_id, events.BecomeFork()))
            former, fork = fork, news.get(timeout=WAIT_S)
            assert fork.forked_from == former.outbox_id
        forked.set()
        while not isinstance(told := news.get(timeout=WAIT_S), Begun):
            pass
        assert told.replaces == fork.outbox_id


def test_what_was_mended_and_is_still_broken_costs_the_file(path):
    with thread_of(path) as (thread, news):
        begun = news.get(timeout=WAIT_S)
        thread.post(commands.ToOutbox(begun.outbox_id, events.Mend(1)))
        while (told := news.get(timeout=WAIT_S)) != events.Mended(1):
            assert not isinstance(told, Begun)
        thread.post(commands.ToOutbox(begun.outbox_id, events.Mend(1, again=True)))
        while not isinstance(told := news.get(timeout=WAIT_S), Begun):
            pass
        assert told.replaces == begun.outbox_id


def test_damage_that_keeping_the_schema_meets_first_sets_the_file_aside(path, monkeypatch):
    """Where the start had no time to look at all of it."""
    damage_blobs(path)
    monkeypatch.setattr("edge_agent.outbox.check", lambda *_, **__: False)
    with capturing(path) as news:
        assert isinstance(news.get(timeout=WAIT_S), FileReplaced)
        begun = news.get(timeout=WAIT_S)
        assert isinstance(begun, Begun)
        assert begun.replaces


@pytest.mark.parametrize("found", ["at once", "by keeping the schema"])
def test_a_damaged_file_that_cannot_be_moved_yet_is_waited_for(path, monkeypatch, found):
    """A folder, or a disk, that is read-only for a while."""
    damage_blobs(path)
    if found != "at once":
        monkeypatch.setattr("edge_agent.outbox.check", lambda *_, **__: False)
    rename, refusals = Path.rename, iter(range(2))

    def renamed(self, target):
        if next(refusals, None) is not None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    with capturing(path) as news:
        told = news.get(timeout=WAIT_S)
        assert isinstance(told, Trouble)
        assert "Read-only file system; make the folder and the disk writable" in told.text
        assert isinstance(news.get(timeout=WAIT_S), FileReplaced)
        assert isinstance(news.get(timeout=WAIT_S), Begun)


def test_guards_whose_writing_met_the_damage_are_in_force_in_the_fresh_file(tmp_path, monkeypatch):
    made = settings(tmp_path)
    outbox, _ = open_outbox(made, ids())
    capture = Capture(SCHEMA, None, outbox, made, new_id=ids(50), tell=lambda _: None)
    thread = CaptureThread(
        SCHEMA, None, made, Inbox(), 1, own_clock=True, new_id=ids(90), tell=lambda _: None
    )

    def damaged(*_):
        raise OutboxDamaged("a page of blobs")

    monkeypatch.setattr(outbox, "keep_guards", damaged)
    thread.post(events.SetGuards(HOT.hash, HOT.to_bytes()))
    for _ in range(2):
        thread._serve(capture)
    assert capture.outbox.outbox_id != outbox.outbox_id
    assert capture.outbox.guards_hash == capture.pipeline.guards.hash == HOT.hash
    capture.close()


DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 M: 8 ECU
 SG_ T : 0|32@1+ (1,0) [0|4294967295] "ms" ECU
"""


@contextlib.contextmanager
def live(folder, **changes):
    """A capture thread of one bus, with its inbox, its sampler and its news."""
    (folder / "car.dbc").write_text(DBC)
    (folder / "agent.toml").write_text(
        '[vehicle]\nid="asset:x"\n[[bus]]\ninterface="virtual"\nchannel="x"\ndbc=["car.dbc"]\n[signals]\nT=0\n'
    )
    config = load_config(folder / "agent.toml", {"DEADRECKON_OUTBOX_PATH": str(folder / "outbox.db")})
    plan, _ = make_plan(config)
    sampler, inbox, news = Sampler(plan), Inbox(), queue.Queue()
    chosen = dataclasses.replace(settings_of(config), synchronous="OFF", **changes)
    thread = CaptureThread(
        plan.schema, sampler, chosen, inbox, 1, own_clock=False, new_id=secrets.token_bytes, tell=news.put
    )
    thread.start()
    assert isinstance(news.get(timeout=WAIT_S), Begun)
    yield inbox, sampler, news
    thread.stop(WAIT_S)


def test_a_disk_that_takes_its_time_moves_no_record(tmp_path, monkeypatch):
    """Frames that come while a commit is under way are of their own ticks, and not late."""
    commit, commits = Outbox.commit, []

    def slow(self, *arguments, **named):
        time.sleep(0.25)
        commits.append(1)
        return commit(self, *arguments, **named)

    monkeypatch.setattr(Outbox, "commit", slow)
    fed = 0
    with live(tmp_path) as (inbox, sampler, _):
        while len(commits) < 4:
            stamp_ns = now().boot_ns
            inbox.put(0, Frames.from_rows([(stamp_ns, 0, 256, fed.to_bytes(8, "little"))]))
            fed += 1
            time.sleep(0.005)
    assert sampler.late_frames * 20 < fed


def test_while_there_is_no_room_nothing_is_taken_and_nobody_parks(tmp_path, monkeypatch):
    asked = threading.Semaphore(0)
    monkeypatch.setattr(Capture, "full", property(lambda _: True))
    monkeypatch.setattr(Capture, "retry", lambda _: asked.release())
    with live(tmp_path, park_after_ns=1) as (_, _, news):
        for _ in range(5):
            assert asked.acquire(timeout=WAIT_S)
    told = [news.get_nowait() for _ in range(news.qsize())]
    assert not any(isinstance(one, ParkedChanged) for one in told)
