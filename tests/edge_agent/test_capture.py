"""From frames to durable blocks: what a crash may cost, a disk that cannot be written, a file that is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.journal import unpack_records
from codec.records import Availability, Records, concatenate
from codec.schema import SchemaError
from decoder.frames import Frames
from edge_agent.blobs import unpack_schema
from edge_agent.capture import Capture, FileReplaced, Trouble, Written, open_outbox
from edge_agent.errors import OutboxBusy
from edge_agent.outbox import PAGE_BYTES, Outbox
from edge_agent.outbox_file import set_aside
from edge_agent.outbox_reader import OutboxReader
from edge_agent.pipeline import Mode
from edge_agent.rows import GapRow, Reason, position_of
from tests.edge_agent.samples import (
    CLOCK,
    HOT,
    RATE_HZ,
    SCHEMA,
    START,
    TICKS,
    TRAINED,
    decoded,
    everything,
    ids,
    settings,
    ticks_of,
)

PERIOD = SCHEMA.period_ns
PARK_NS = 60 * 10**9


class Grid:
    """A sampler of the simplest kind: the temperature of a tick is the ID of the newest frame before it."""

    def __init__(self) -> None:
        self.next_tick: int | None = None
        self.newest_ns: int | None = None
        self.temp = 0
        self.runs: list[Records] = []
        self.taken: list[int] = []

    def feed(self, frames: Frames, ticks_max: int) -> int:
        rows = zip(frames.timestamps_ns.tolist(), frames.ids.tolist(), strict=True)
        for at, (stamp, temp) in enumerate(rows):
            if self._close(stamp - 1, ticks_max):
                return at
            self.next_tick = max(self.next_tick or 0, -(-stamp // PERIOD))
            self.newest_ns, self.temp = max(self.newest_ns or 0, stamp), temp
        return len(frames)

    def advance(self, until_ns: int | None = None, ticks_max: int = 1 << 30) -> list[Records]:
        if until_ns is not None:
            self._close(until_ns, ticks_max)
        runs, self.runs = concatenate(self.runs), []
        return runs

    def _close(self, until_ns: int, ticks_max: int) -> bool:
        """Whether there are more."""
        until_ns = min(until_ns, (self.newest_ns or 0) + PARK_NS)
        while self.next_tick is not None and self.next_tick * PERIOD <= until_ns:
            if len(self.runs) == ticks_max:
                return True
            counts = np.array([[self.temp * 2, 0]], np.int64)
            self.runs.append(
                Records(self.next_tick, counts, np.full((1, 2), Availability.AVAILABLE, np.uint8))
            )
            self.taken.append(self.next_tick)
            self.next_tick += 1
        return False


def frames(first: int, count: int, *, step: int = 1, temp: int = 20) -> Frames:
    """A frame in every `step`th period from tick `first` on."""
    return Frames.from_rows([((first + at * step) * PERIOD - 1000, 0, temp, b"") for at in range(count)])


class Run:
    """One life of an agent."""

    def __init__(self, folder: Path, seed: int = 0, **changes) -> None:
        self.settings = settings(folder, **changes)
        self.path = Path(self.settings.path)
        self.news: list = []
        self.grid = Grid()
        outbox, self.aside = open_outbox(self.settings, ids(seed))
        self.capture = Capture(
            SCHEMA, self.grid, outbox, self.settings, new_id=ids(seed + 50), tell=self.news.append
        )

    def of(self, kind):
        return [news for news in self.news if isinstance(news, kind)]

    def die(self) -> None:
        """As SIGKILL would: nothing is flushed, nothing is said."""
        self.capture.outbox._db.close()
        import os

        os.close(self.capture.outbox._lock)


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path)
    yield made
    with contextlib.suppress(Exception):
        made.capture.close()


def test_frames_become_blocks_and_whoever_sends_is_told(run):
    run.capture.set_mode(Mode.ONLINE)
    run.capture.take(frames(START, 1201), CLOCK)
    assert run.of(Written) == [Written(1, 0, START + 500), Written(2, 0, START + 1000)]
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path)) == run.grid.taken


def test_a_crash_costs_less_than_loss_max(tmp_path):
    run = Run(tmp_path)
    run.capture.take(frames(START, 777), CLOCK)
    run.die()
    again = Run(tmp_path, seed=1)
    kept = ticks_of(decoded(run.path))
    assert kept == run.grid.taken[: len(kept)]
    assert 0 <= len(run.grid.taken) - len(kept) < TICKS.loss_max
    assert again.capture.pipeline.name.stream_no == 1
    again.capture.take(frames(START + 2000, 60), CLOCK)
    again.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path, 1)) == again.grid.taken
    again.capture.close()


def test_never_more_than_loss_max_leaves_the_sampler_before_it_is_written(run, monkeypatch):
    taken_at_commit = [0]
    commit = Outbox.commit

    def counted(outbox, *arguments, **more):
        assert len(run.grid.taken) - taken_at_commit[-1] <= TICKS.loss_max
        taken_at_commit.append(len(run.grid.taken))
        return commit(outbox, *arguments, **more)

    monkeypatch.setattr(Outbox, "commit", counted)
    run.capture.take(frames(START, 2000), CLOCK)  # all at once, as a backlog of frames is
    run.capture.take(frames(START + 2000 + 50 * RATE_HZ, 10), CLOCK)  # 50 s of silence in between
    assert len(taken_at_commit) > 80


def test_silence_is_records_until_the_vehicle_counts_as_parked(run):
    run.capture.take(frames(START, 10), CLOCK)
    now_ns = START * PERIOD
    run.capture.advance(now_ns + 30 * 10**9, CLOCK)
    assert not run.capture.parked(now_ns + 30 * 10**9)
    run.capture.advance(now_ns + 8 * 3600 * 10**9, CLOCK)
    assert run.capture.parked(now_ns + 8 * 3600 * 10**9)
    assert abs(len(run.grid.taken) - 60 * RATE_HZ) < 20


def test_years_between_two_frames_take_no_time(run):
    run.capture.take(frames(START, 10), CLOCK)
    run.capture.take(frames(START + 50 * 365 * 86_400 * RATE_HZ, 10), CLOCK)
    assert len(run.grid.taken) < 70 * RATE_HZ


def test_a_log_that_ends_gives_the_tick_of_its_last_frame(run):
    run.capture.take(frames(START, 5), CLOCK)
    assert run.grid.taken[-1] == START + 3
    run.capture.finish_log(CLOCK)
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path))[-1] == START + 4


def test_demo_mode_keeps_what_was_sampled_and_how_much_a_kill_cost(tmp_path):
    run = Run(tmp_path, side_log=True)
    run.capture.take(frames(START, 777), CLOCK)
    run.die()
    run.grid.taken, lost = run.grid.taken, len(run.grid.taken)
    again = Run(tmp_path, seed=1, side_log=True)
    again.capture.take(frames(START + 5000, 100), CLOCK)
    again.capture.flush(CLOCK)
    with contextlib.closing(OutboxReader(str(run.path))) as reader:
        rows = reader._db.execute("SELECT stream_no, content FROM side_log ORDER BY id").fetchall()
    again.capture.close()
    logged = {no: concatenate(unpack_records(row, 2) for at, row in rows if at == no) for no in (0, 1)}
    for stream_no, runs in logged.items():
        assert ticks_of(runs) == ticks_of(decoded(run.path, stream_no))
    sampled, last = struct.unpack("<qq", Path(f"{run.path}.sampled").read_bytes())
    assert sampled == lost + len(again.grid.taken)
    assert last == again.grid.taken[-1]


# A disk that cannot be written


def test_capture_goes_on_while_the_disk_is_full_and_catches_up(tmp_path):
    run = Run(tmp_path, side_log=True)
    outbox = run.capture.outbox
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    run.capture.set_mode(Mode.ONLINE)
    for second in range(100):
        noisy = [frames(START + second * 50 + tick, 1, temp=tick % 40) for tick in range(50)]
        run.capture.take(Frames.concatenate(noisy), CLOCK)
    assert run.capture.waiting
    assert [trouble.text.endswith("free some disk space") for trouble in run.of(Trouble)] == [True], (
        "said once"
    )
    assert not run.capture.full
    outbox._db.execute("PRAGMA max_page_count = 1000000")
    run.capture.retry()
    assert not run.capture.waiting
    assert run.of(Trouble)[-1].text == ""
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path)) == run.grid.taken
    assert everything(run.path)[1] is None
    run.capture.close()


def test_a_disk_that_others_filled_costs_no_records_that_are_stored(run, monkeypatch):
    run.capture.set_mode(Mode.ONLINE)
    run.capture.take(frames(START, 2000), CLOCK)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"total": 10**12, "free": 0}))
    run.capture.take(frames(START + 2000, 2000), CLOCK)
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path)) == run.grid.taken


def test_a_twentieth_of_the_disk_is_kept_free(run, monkeypatch):
    """A disk that the outbox alone would fill: it grows up to there, and then drops the oldest."""
    total, others = 400_000, 350_000

    def usage(_):
        return type("Usage", (), {"total": total, "free": total - others - run.capture.outbox.file_bytes()})

    monkeypatch.setattr("shutil.disk_usage", usage)
    monkeypatch.setattr("edge_agent.capture.TAKE_FRAMES", 1000)
    run.capture.set_mode(Mode.ONLINE)
    rng = np.random.default_rng(1)
    for part in range(300):
        rows = [
            ((START + part * 100 + at) * PERIOD - 1000, 0, int(rng.integers(0, 4000)), b"")
            for at in range(100)
        ]
        run.capture.take(Frames.from_rows(rows), CLOCK)
    run.capture.flush(CLOCK)
    assert abs(usage(None).free - total / 20) < 16 * PAGE_BYTES  # a commit's worth
    rows, broken = everything(run.path)
    assert broken is None
    assert [row.reason for row in rows if isinstance(row, GapRow)] == [Reason.QUOTA]
    assert rows[-1].end_record == len(run.grid.taken)


def test_a_lock_of_somebody_else_costs_nothing(run):
    import sqlite3

    run.capture.outbox._db.execute("PRAGMA busy_timeout = 1")
    with contextlib.closing(sqlite3.connect(run.path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        run.capture.take(frames(START, 200), CLOCK)
        assert "end the other program" in run.of(Trouble)[0].text
        shell.execute("ROLLBACK")
    run.capture.retry()
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path)) == run.grid.taken


# A damaged file


def test_a_damaged_file_is_set_aside_and_the_fresh_one_says_whose_place_it_takes(tmp_path):
    run = Run(tmp_path)
    run.capture.take(frames(START, 700), CLOCK)
    named = run.capture.outbox.outbox_id
    run.capture.close()
    content = bytearray(run.path.read_bytes())
    content[5 * PAGE_BYTES :] = b"\xff" * (len(content) - 5 * PAGE_BYTES)
    run.path.write_bytes(content)
    again = Run(tmp_path, seed=9)
    assert Path(again.aside).exists()
    assert again.capture.outbox.outbox_id != named
    assert again.capture.outbox.replaces == named
    again.capture.take(frames(START + 9000, 10), CLOCK)
    again.capture.close()


def test_damage_while_it_runs_costs_the_file_but_not_the_block_being_filled(run):
    run.capture.set_mode(Mode.ONLINE)
    run.capture.set_guards(HOT.hash, HOT.to_bytes())
    run.capture.set_prior(TRAINED.content, CLOCK)
    run.capture.take(frames(START, 601), CLOCK)
    named = run.capture.outbox.outbox_id
    run.capture.replace_file("somebody read nonsense")
    assert run.of(FileReplaced)
    assert run.capture.outbox.replaces == named
    assert run.capture.outbox.guards_hash == HOT.hash
    assert run.capture.prior_hash == run.capture.outbox.prior_hash(SCHEMA.hash) == TRAINED.hash
    run.capture.take(frames(START + 601, 100), CLOCK)
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path)) == run.grid.taken[500:]


def test_damage_on_a_disk_that_takes_no_fresh_file_costs_no_record_after_it(run, monkeypatch):
    """A folder in the file's place keeps SQLite from making one."""

    def set_aside_and_block(path: str) -> str:
        name = set_aside(path)
        Path(path).mkdir()
        return name

    monkeypatch.setattr("edge_agent.capture.set_aside", set_aside_and_block)
    run.capture.take(frames(START, 101), CLOCK)
    named = run.capture.outbox.outbox_id
    run.capture.replace_file("somebody read nonsense")
    assert run.capture.outbox_id == b""
    run.capture.take(frames(START + 101, 2000), CLOCK)
    with pytest.raises(OutboxBusy, match="make the folder writable"):
        run.capture.set_guards(HOT.hash, HOT.to_bytes())
    filling = len(run.capture.pipeline.filling)
    with pytest.raises(OutboxBusy, match="make the folder writable"):
        run.capture.set_prior(TRAINED.content, CLOCK)
    assert len(run.capture.pipeline.filling) == filling  # no block is cut short for what cannot be done
    run.capture.retry()
    assert run.capture.waiting
    assert not run.of(FileReplaced)
    run.path.rmdir()
    run.capture.retry()
    assert not run.capture.waiting
    assert run.capture.outbox.replaces == named
    run.capture.flush(CLOCK)
    assert ticks_of(decoded(run.path)) == run.grid.taken
    assert [news.text for news in run.of(Trouble)][-1] == ""


@pytest.mark.parametrize(
    "lie", ["stream_id = x'00'", "origin_tick = 7", "next_seq = 7", "guards_now = x'00'"]
)
def test_a_stream_whose_row_lies_costs_the_file(tmp_path, lie):
    run = Run(tmp_path)
    run.capture.take(frames(START, 101), CLOCK)
    named = run.capture.outbox.outbox_id
    run.capture.close()
    with contextlib.closing(sqlite3.connect(run.path)) as db:
        db.execute(f"UPDATE streams SET {lie}")
        db.commit()
    again = Run(tmp_path, seed=1)
    assert again.aside
    assert again.capture.outbox.replaces == named
    again.capture.close()


def test_a_crash_whose_schema_is_gone_leaves_a_gap(tmp_path):
    run = Run(tmp_path)
    run.capture.take(frames(START, 70), CLOCK)
    run.capture.outbox._db.execute("DELETE FROM blobs")
    run.die()
    again = Run(tmp_path, seed=1)
    rows, _ = everything(run.path)
    assert [(row.first_seq, row.last_seq) for row in rows] == [(0, 0)]
    again.capture.close()


@pytest.mark.parametrize("packed", [b"", b"nonsense", bytes(100)])
def test_a_schema_that_is_none_is_told_apart(packed):
    with pytest.raises(SchemaError):
        unpack_schema(packed)


# What the collector asks for


def test_guards_last_over_restarts(tmp_path):
    run = Run(tmp_path)
    run.capture.set_guards(HOT.hash, HOT.to_bytes())
    run.capture.close()
    again = Run(tmp_path, seed=1)
    assert again.capture.pipeline.guards == HOT
    again.capture.set_guards(b"", b"")
    assert not again.capture.pipeline.guards.guards
    again.capture.close()


def test_after_a_fork_records_go_on_in_a_stream_of_the_new_outbox(run):
    run.capture.set_mode(Mode.ONLINE)
    run.capture.take(frames(START, 601), CLOCK)
    named = run.capture.outbox.outbox_id
    run.capture.set_wanted(position_of(1, 0))
    run.capture.fork(CLOCK)
    assert run.capture.outbox.outbox_id != named
    run.capture.take(frames(START + 601, 50), CLOCK)
    run.capture.flush(CLOCK)
    assert run.capture.pipeline.name.stream_no == 0
    assert ticks_of(decoded(run.path)) == list(range(START + 600, START + 650))


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 120)), min_size=1, max_size=8), st.integers(0, 8)
)
def test_nothing_committed_is_lost_whenever_the_agent_dies(tmp_path_factory, stretches, death):
    """What is stored after a restart is what was sampled, but for less than loss_max at the end."""
    folder = tmp_path_factory.mktemp("life")
    run = Run(folder)
    first = START
    for at, (silence, count) in enumerate(stretches):
        if at == death:
            break
        first += silence
        run.capture.take(frames(first, count), CLOCK)
        first += count
    run.die()
    again = Run(folder, seed=1)
    again.capture.close()
    kept = ticks_of(decoded(run.path)) if run.grid.taken else []
    assert kept == run.grid.taken[: len(kept)]
    assert len(run.grid.taken) - len(kept) < TICKS.loss_max
