"""Bits flipped anywhere in an outbox's file, and the file cut anywhere: it is set aside and named, or nothing is missing without a gap."""

from __future__ import annotations

import contextlib
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_agent.capture import open_outbox
from edge_agent.errors import OutboxDamaged
from edge_agent.outbox import PAGE_BYTES, Outbox
from edge_agent.outbox_reader import OutboxReader
from edge_agent.outbox_rows import NOWHERE
from edge_agent.rows import Commit, position_of
from tests.edge_agent.samples import CLOCK, START, fill, ids, new_outbox, records, settings

FLIPS = 400
SUFFIXES = ("", "-wal", ".lock")


@dataclass(frozen=True, slots=True)
class Crashed:
    """Files as a crash left them, whose outbox it was, and how many records each stream has, journal included."""

    folder: Path
    names: tuple[bytes, bytes, bytes]
    record_counts: dict[int, int]


@pytest.fixture(params=["in the file", "in the write-ahead log"])
def crashed(request, tmp_path) -> Crashed:
    path = tmp_path / "outbox.db"
    Outbox(str(path), ids(55)).close()
    path.unlink()  # so that the next one takes its place
    image = tmp_path / "image"
    image.mkdir()
    with contextlib.closing(new_outbox(path)) as outbox:
        fill(outbox, 3)
        fill(outbox, 2, stream_no=1, first=START + 10_000)
        open_stream = fill(outbox, 1, stream_no=2, first=START + 20_000)
        if request.param == "in the file":
            outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for start in (20_500, 20_550):
            noise = np.random.default_rng(start).uniform(0, 40, 50)
            added = open_stream.add(records(50, first=START + start, temp=noise), CLOCK)
            outbox.commit(added, limit_bytes=NOWHERE)
        outbox.wanted = position_of(0, 1)
        outbox.commit(Commit(), limit_bytes=NOWHERE)
        if request.param == "in the file":
            outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in SUFFIXES:
            shutil.copy(f"{path}{suffix}", image)
        names = (outbox.outbox_id, outbox.replaces, outbox.forked_from)
    return Crashed(image, names, {0: 1500, 1: 1000, 2: 600})


def drained(outbox) -> dict[int, int]:
    """Each stream's records, sent and in gaps, as the collector would count them. What cannot be sent becomes a gap."""
    counts: dict[int, int] = {}
    start = 0
    while True:
        with OutboxReader(outbox.path) as reader:
            fetched = reader.fetch(start, bytes_max=1 << 20)
        for row in fetched.rows:
            counts[row.stream_no] = row.end_record
            start = row.end
        if fetched.broken is not None:
            outbox.mend(fetched.broken)
        elif not fetched.rows:
            return counts


def check_nothing_missing(crashed: Crashed, folder: Path, what: str) -> str:
    """What became of the file in `folder`."""
    outbox, _ = open_outbox(settings(folder, synchronous="OFF"), ids(77))
    with contextlib.closing(outbox):
        if outbox.outbox_id == ids(77)(16):
            assert outbox.replaces == crashed.names[1] + crashed.names[0], what
            return "set aside"
        assert (outbox.outbox_id, outbox.replaces, outbox.forked_from) == crashed.names, what
        try:
            assert drained(outbox) == crashed.record_counts, what
        except OutboxDamaged:
            return "set aside"  # by whoever meets it
        return "taken"


def damaged(crashed: Crashed, folder: Path) -> Path:
    """A fresh copy of the file, to be damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(crashed.folder, folder)
    return folder / "outbox.db"


@pytest.mark.parametrize("crashed", ["in the file"], indirect=True)
def test_no_flipped_bit_makes_anything_missing_without_a_word(crashed, tmp_path):
    became = set()
    for _ in range(FLIPS):
        path = damaged(crashed, tmp_path / "work")
        content = bytearray(path.read_bytes())
        at, bit = random.randrange(len(content)), random.randrange(8)
        content[at] ^= 1 << bit
        path.write_bytes(content)
        became.add(check_nothing_missing(crashed, path.parent, f"bit {bit} of byte {at}"))
    assert became == {"set aside", "taken"}


def test_wherever_the_file_is_cut_nothing_is_missing_without_a_word(crashed, tmp_path):
    size = (crashed.folder / "outbox.db").stat().st_size
    for end in {0, 1, PAGE_BYTES - 1, *range(PAGE_BYTES, size, PAGE_BYTES), size - 1}:
        path = damaged(crashed, tmp_path / "work")
        with path.open("r+b") as file:
            file.truncate(end)
        check_nothing_missing(crashed, path.parent, f"cut to {end} of {size} bytes")
