from __future__ import annotations

from collector.ingest.progress import Place, Progress, Repair
from collector.items import Position

AT_7 = Progress(Position(2, 7), Position(2, 6), record_count=70, group_seq=5)


def test_everything_before_what_is_wanted_is_durable():
    assert AT_7.place(2, 6, 6) is Place.BEFORE
    assert AT_7.place(1, 900, 900) is Place.BEFORE
    assert AT_7.place(2, 7, 7) is Place.NEXT
    assert AT_7.place(2, 8, 8) is Place.BEYOND
    assert AT_7.place(3, 0, 0) is Place.BEYOND


def test_a_gap_that_grew_begins_before_and_ends_after():
    assert AT_7.place(2, 3, 9) is Place.NEXT
    assert AT_7.place(2, 3, 6) is Place.BEFORE
    assert AT_7.place(2, 8, 9) is Place.BEYOND


def test_a_stream_is_complete_when_its_successor_says_so():
    assert AT_7.is_complete(6)
    assert not AT_7.is_complete(7)
    assert AT_7.is_complete(4)  # the vehicle knows less of it than is here
    assert AT_7.is_complete(None)
    assert Progress(Position(2, 0)).is_complete(None)  # it was empty


def test_the_next_stream_begins_at_nothing_and_the_last_batch_stays_the_last():
    assert AT_7.after_stream() == Progress(Position(3, 0), Position(2, 6))


def test_a_block_moves_on_by_its_records():
    delta = AT_7.after_block(keyframe=False, first_record=70, record_count=10, end_tick=500)
    assert delta == Progress(Position(2, 8), Position(2, 7), 80, 500, group_seq=5)
    keyframe = AT_7.after_block(keyframe=True, first_record=70, record_count=10, end_tick=500)
    assert keyframe.group_seq == 7


def test_a_gap_costs_what_is_not_here_yet():
    assert AT_7.records_missing(100) == 30
    after = AT_7.after_gap(9, 100)
    assert after == Progress(Position(2, 10), Position(2, 9), 100)
    assert after.records_missing(100) == 0
    assert AT_7.records_missing(60) == 0  # it cannot cost less than nothing


def test_a_quarantine_stays_open_until_a_keyframe_closes_it():
    one = AT_7.after_quarantine()
    two = one.after_quarantine()
    assert (two.wanted, two.open_gap_seq, two.group_seq) == (Position(2, 9), 7, None)
    assert two.after_block(keyframe=True, first_record=100, record_count=10, end_tick=9).open_gap_seq is None


def test_a_repair_covers_its_group():
    repair = Repair(2, 5, 7)
    assert [repair.covers(2, seq) for seq in (4, 5, 7, 8)] == [False, True, True, False]
    assert not repair.covers(1, 5)
