"""What tells an outbox from its twin: which streams it has under which ids."""

from __future__ import annotations

from dataclasses import replace

from collector.items import Described, Forked
from tests.collector.vehicle import Vehicle


def test_a_stream_number_under_another_id_is_a_fork(bench, connected):
    twin = Vehicle()
    assert bench.take(twin.run(stream_id=99)) == Forked()


def test_a_stream_that_follows_or_precedes_another_than_the_one_here_is_a_fork(bench, connected):
    twin = Vehicle()
    ours, theirs, more = connected.run(), replace(connected.run(), prev_stream_id=b"t" * 16), twin.run()
    assert bench.take(ours, theirs) == Forked()
    assert bench.take(replace(theirs, facts=replace(theirs.facts, stream_no=3)), more) == Described()
    before = replace(theirs, facts=replace(theirs.facts, stream_no=2), prev_stream_id=ours.facts.stream_id)
    assert bench.take(before) == Forked()  # stream 3 says that the one before it is another


def test_welcome_names_the_stream_of_what_is_stored(bench, connected):
    bench.take(connected.drive())
    assert bench.take(connected.greeting).stored_stream_id == bytes([1, 0]) * 8
