"""Who is told of a fault, and when: decision by decision, on a real store, then whatever comes in whatever order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.items import Farewell, Greeting, Hole, Ignored, Noted, OutboxKey, Position
from collector.rules import load_rules
from collector.store import open_store
from tests.collector.vehicle import NOW_NS, SCHEMA, START_TICK, Bench, Vehicle, spoiled


def told(bench) -> list[tuple[str, bool]]:
    """(kind, provisional) of everything told so far."""
    return [(row["kind"], bool(row["provisional"])) for row in open_store(bench.path).notices()]


def pages(bench) -> set[str]:
    return {row["page"] for row in open_store(bench.path).notices()}


def provisional(bench) -> list[tuple[str, bool]]:
    """(code, whether it seems to be over)."""
    rows = open_store(bench.path).provisional_faults()
    return [(row["code"], row["ended_at"] is not None) for row in rows]


OPENED, CLOSED, DIGEST = ("opened", False), ("closed", False), ("digest", False)
RAISED, CONFIRMED, WITHDRAWN = ("opened", True), ("confirmed", False), ("withdrawn", True)


# What comes in time, and what a backlog brings


def test_what_opens_in_time_pages_at_once_and_is_told_to_have_ended(bench, connected):
    bench.take(connected.drive(temp=46.0))
    assert told(bench) == [OPENED]
    bench.take(connected.drive(temp=46.0))
    assert told(bench) == [OPENED], "once"
    bench.take(connected.drive(temp=20.0))
    assert told(bench) == [OPENED, CLOSED]
    (fault,) = open_store(bench.path).faults()
    assert {fault["page"]} == pages(bench)


def test_a_notice_says_all_that_a_sender_needs(bench, connected):
    bench.take(connected.drive(temp=46.0), connected.drive(temp=20.0))
    opened, closed = open_store(bench.path).notices()
    assert opened | {"id": 0, "at": ""} == {
        "id": 0,
        "at": "",
        "kind": "opened",
        "page": f"1-0-{START_TICK}-HOT",
        "vin": "asset:one",
        "code": "HOT",
        "severity": "CRITICAL",
        "description": "hot",
        "provisional": False,
        "detected_at": "2023-11-14T22:13:20.000Z",
        "ended_at": None,
        "age_s": (NOW_NS - START_TICK * SCHEMA.period_ns) / 1e9,
        "outbox": 1,
        "stream_no": 0,
        "first_tick": START_TICK,
    }
    assert closed["ended_at"] == "2023-11-14T22:13:21.900Z"
    assert open_store(bench.path).notices(after_id=opened["id"]) == [closed]


def test_what_opened_and_ended_in_a_backlog_goes_to_the_digest(bench, connected):
    bench.take(connected.drive(temp=46.0, late=True))
    assert told(bench) == []
    bench.take(connected.drive(temp=20.0, late=True), connected.drive())
    assert told(bench) == [DIGEST]


def test_what_is_still_open_at_the_end_of_a_backlog_pages_once(bench, connected):
    bench.take(connected.drive(temp=46.0, late=True))
    bench.restart()
    bench.take(connected.drive(temp=46.0, late=True), connected.drive(temp=46.0))
    assert told(bench) == [OPENED]
    bench.take(connected.drive(temp=46.0), connected.drive(temp=20.0))
    assert told(bench) == [OPENED, CLOSED]


def test_a_vehicle_that_parks_has_sent_everything(bench, connected):
    bench.take(connected.drive(temp=46.0, late=True), Farewell(connected.key, "offline"))
    assert told(bench) == [], "a link that broke says nothing of the backlog"
    bench.take(Farewell(connected.key, "parked"), Farewell(connected.key, "parked"))
    assert told(bench) == [OPENED]


def test_a_vehicle_that_parks_before_everything_is_here_is_still_behind(bench, connected):
    hot, bad = connected.drive(temp=46.0, late=True), connected.drive(temp=46.0, late=True)
    cold = connected.drive(temp=20.0, late=True)
    parked = Farewell(connected.key, "parked", Position(0, cold.seq))
    outcomes = [bench.take(item) for item in (hot, spoiled(bad), cold, parked)]
    assert (outcomes[2], outcomes[3]) == (Ignored(), Hole(Position(0, bad.seq)))
    assert told(bench) == []
    assert bench.take(connected.greeting, bad, cold, parked) == Noted()
    assert told(bench) == [DIGEST]


def test_a_recording_that_is_imported_says_nothing_of_what_its_vehicle_shows_now(bench, connected):
    bench.take(connected.drive())
    waits = connected.drive(temp=46.0)
    bench.take(connected.beat())
    assert told(bench) == [RAISED]
    recording = OutboxKey(connected.key.vehicle, b"i" * 16)
    other = Bench(
        bench.path, load_rules('[[rule]]\ncode="COLD"\nwhen="Temp < 0"\nseverity="INFO"\ndescription="cold"')
    )
    other.take(Greeting(recording, state=""))
    other.ledger.close()
    bench.take(waits)
    assert told(bench) == [RAISED, CONFIRMED]


def test_whoever_was_paged_is_told_of_the_end_however_late_it_comes(bench, connected):
    bench.take(connected.drive(temp=46.0), connected.drive(temp=20.0, late=True))
    assert told(bench) == [OPENED, CLOSED]


def test_a_rule_that_changed_closes_its_page_and_withdraws_what_was_provisional(bench, connected):
    warm = load_rules('[[rule]]\ncode="HOT"\nwhen="Temp > 40"\nseverity="INFO"\ndescription="warm"')
    other = Vehicle("asset:other", outbox=2)
    bench.take(other.greeting, other.run(), other.drive())
    bench.take(connected.drive(temp=46.0))
    waits = other.drive(temp=46.0)
    bench.take(other.beat())
    assert told(bench) == [OPENED, RAISED]
    bench.ingest.set_rules(warm)
    bench.take(connected.greeting)
    assert sorted(told(bench)[2:]) == [CLOSED, WITHDRAWN]
    bench.take(waits)
    assert told(bench)[4:] == [OPENED], "by the new rule"


# Provisional faults


def test_a_heartbeat_beyond_what_is_stored_raises_a_provisional_fault_and_the_fault_takes_over_its_page(
    bench, connected
):
    backlog = [connected.drive(late=True), connected.drive(temp=46.0, late=True)]
    bench.take(connected.beat())
    assert (told(bench), provisional(bench)) == ([RAISED], [("HOT", False)])
    bench.take(connected.beat(), backlog[0])
    assert told(bench) == [RAISED]
    assert open_store(bench.path).faults() == []
    bench.take(backlog[1])
    assert (told(bench), provisional(bench)) == ([RAISED, CONFIRMED], [])
    bench.take(connected.drive(temp=46.0), connected.drive(temp=20.0))
    assert told(bench) == [RAISED, CONFIRMED, CLOSED]
    (fault,) = open_store(bench.path).faults()
    assert pages(bench) == {fault["page"]}


def test_a_provisional_fault_that_never_was_is_withdrawn(bench, connected):
    liar = Vehicle()
    liar.run()
    liar.drive(temp=46.0)
    bench.take(liar.beat())
    bench.take(connected.drive(count=19, late=True))
    assert told(bench) == [RAISED]
    bench.take(connected.drive(count=1, late=True))
    assert (told(bench), provisional(bench)) == ([RAISED, WITHDRAWN], [])


def test_one_that_was_paged_and_ended_in_the_backlog_is_told_to_have_ended(bench, connected):
    backlog = [connected.drive(late=True), connected.drive(temp=46.0, late=True)]
    bench.take(connected.beat())
    backlog.append(connected.drive(temp=20.0, late=True))
    bench.take(connected.beat())
    assert provisional(bench) == [("HOT", True)], "shown to be over; nobody is told before it is certain"
    bench.take(*backlog)
    assert told(bench) == [RAISED, CONFIRMED, CLOSED]


def test_a_fault_that_opened_and_ended_in_the_block_that_passes_it_takes_over_the_page(bench, connected):
    connected.drive(5, temp=20.0)
    connected.drive(5, temp=46.0)
    bench.take(connected.beat())
    whole = Vehicle()
    described = whole.run()
    item = whole.drive(30, temp=40.0, step=1.0)
    assert described.facts == bench.ingest.outboxes[connected.key].descriptions[0].facts
    bench.take(item, whole.drive(temp=20.0, late=True))
    assert told(bench) == [RAISED, CONFIRMED, CLOSED]


def test_none_is_raised_at_or_before_what_is_stored_or_where_the_fault_has_paged(bench, connected):
    bench.take(connected.drive(temp=46.0, late=True), connected.beat())
    assert told(bench) == []
    bench.take(connected.drive(temp=46.0))
    assert told(bench) == [OPENED]
    connected.drive(temp=46.0)
    bench.take(connected.beat())
    assert (told(bench), provisional(bench)) == ([OPENED], [])


def test_the_fault_that_pages_first_takes_it_over_though_it_is_another_one(bench, connected):
    """Behind, but not late: the fault is here in time, before ingest has come to where the heartbeat was."""
    opens, ends = connected.drive(temp=46.0), connected.drive(temp=20.0)
    connected.drive(temp=46.0)
    bench.take(connected.beat(), opens)
    assert (told(bench), provisional(bench)) == ([RAISED, CONFIRMED], [])
    bench.take(ends)
    assert told(bench) == [RAISED, CONFIRMED, CLOSED]


def test_a_provisional_fault_outlives_a_restart_of_the_collector(bench, connected):
    backlog = [connected.drive(late=True), connected.drive(temp=46.0, late=True)]
    bench.take(connected.beat())
    bench.restart()
    bench.take(connected.beat(), *backlog, connected.drive(temp=46.0))
    assert told(bench) == [RAISED, CONFIRMED]


def test_the_stream_of_a_heartbeat_may_lie_beyond_the_one_that_drains(bench, connected):
    backlog = [connected.drive(late=True), connected.run(), connected.drive(temp=46.0, late=True)]
    bench.take(connected.beat())
    assert told(bench) == [], "not described yet"
    bench.take(backlog[1], connected.beat())
    assert told(bench) == [RAISED]
    bench.take(backlog[0])
    assert told(bench) == [RAISED]
    bench.take(backlog[2])
    assert told(bench) == [RAISED, CONFIRMED]


def test_another_outbox_of_the_vehicle_withdraws_what_this_one_showed(bench, connected):
    """It forked, or its file was lost: nobody is left who could confirm it."""
    connected.drive(temp=46.0)
    bench.take(connected.beat(), Vehicle(outbox=2).greeting)
    assert told(bench) == [RAISED, WITHDRAWN]


def test_the_open_faults_of_an_outbox_that_is_replaced_end_with_it(bench, connected):
    bench.take(connected.drive(temp=46.0))
    bench.take(Greeting(Vehicle(outbox=2).key, replaces=(connected.key.outbox_id,)))
    bench.take(Greeting(Vehicle(outbox=2).key, replaces=(connected.key.outbox_id,)))
    assert told(bench) == [OPENED, CLOSED]
    (fault,) = open_store(bench.path).faults()
    assert (fault["end_reason"], fault["last_tick"]) == ("outbox lost", START_TICK + 19)


def test_the_open_faults_of_an_outbox_end_when_a_fork_leaves_it(bench, connected):
    """A restored image: nobody has the former name any more, and nobody would ever end them."""
    fork = Vehicle(outbox=2)
    bench.take(connected.drive(temp=46.0))
    bench.take(Greeting(fork.key, forked_from=connected.key.outbox_id))
    assert told(bench) == [OPENED, CLOSED]
    (fault,) = open_store(bench.path).faults()
    assert (fault["end_reason"], fault["last_tick"]) == ("outbox forked", START_TICK + 19)


def test_a_twin_that_keeps_the_former_name_goes_on_with_its_fault_and_is_left_alone_from_then_on(
    bench, connected
):
    fork = Vehicle(outbox=2)
    greeting = Greeting(fork.key, forked_from=connected.key.outbox_id)
    bench.take(connected.drive(temp=46.0), greeting, fork.schema, fork.run(), fork.drive(temp=20.0))
    bench.take(connected.drive(temp=47.0), greeting)
    assert told(bench) == [OPENED, CLOSED, OPENED]
    bench.take(connected.drive(temp=20.0))
    assert told(bench) == [OPENED, CLOSED, OPENED, CLOSED]


def test_a_fork_of_an_outbox_that_nobody_knows_changes_nothing(bench, connected):
    bench.take(Greeting(Vehicle(outbox=2).key, forked_from=bytes(16)))
    with bench.ledger.transaction() as transaction:
        assert transaction.find_outbox(OutboxKey(connected.key.vehicle, bytes(16))) is None


def test_a_fault_of_an_outbox_that_was_lost_and_is_here_after_all_is_told_anew(bench, connected):
    bench.take(connected.drive(temp=46.0))
    bench.take(Greeting(Vehicle(outbox=2).key, replaces=(connected.key.outbox_id,)))
    bench.restart()
    bench.take(connected.drive(temp=47.0))
    assert told(bench) == [OPENED, CLOSED, OPENED]
    bench.take(connected.drive(temp=20.0))
    assert told(bench) == [OPENED, CLOSED, OPENED, CLOSED]
    assert len(pages(bench)) == 2
    (fault,) = open_store(bench.path).faults()
    assert (fault["end_reason"], fault["last_tick"]) == ("cleared", START_TICK + 39)


def test_what_lies_in_a_gap_is_withdrawn_with_it_and_not_raised_again(bench, connected):
    """The quota took the newest blocks, and the vehicle parks: no block will ever come that tells where the gap ends."""
    bench.take(connected.drive())
    connected.drive(temp=46.0)
    bench.take(connected.beat())
    bench.take(connected.gap(1, 1, 40), connected.beat())
    bench.restart()
    bench.take(connected.beat())
    assert (told(bench), provisional(bench)) == ([RAISED, WITHDRAWN], [])


@pytest.mark.parametrize("late", [False, True])
def test_a_fault_told_anew_has_a_name_of_its_own_over_a_restart(bench, connected, late):
    bench.take(connected.drive(temp=46.0))
    bench.take(Greeting(Vehicle(outbox=2).key, replaces=(connected.key.outbox_id,)))
    bench.take(connected.drive(temp=47.0, late=late))
    bench.restart()
    bench.take(connected.drive(temp=20.0, late=late))
    by_page = defaultdict(list)
    for row in open_store(bench.path).notices():
        by_page[row["page"]].append(row["kind"])
    assert list(by_page.values()) == [["opened", "closed"]] * 2


def test_what_is_raised_again_where_it_was_withdrawn_and_what_begins_there_have_names_of_their_own(
    bench, connected
):
    waiting = connected.drive(1, temp=46.0)
    for _ in range(2):  # in one transaction, and in two
        bench.take(connected.beat(), Vehicle(outbox=2).greeting, connected.beat())
        bench.take(Vehicle(outbox=2).greeting)
    bench.take(waiting, connected.drive(temp=46.0))
    assert told(bench) == [RAISED, WITHDRAWN] * 4 + [OPENED]
    assert len(pages(bench)) == 5


@pytest.mark.parametrize(
    "changes", [{"guards_hash": b""}, {"guards_hash": bytes(16)}, {"guard_lasted": b""}, {"stream_no": 7}]
)
def test_a_heartbeat_that_says_too_little_raises_nothing(bench, connected, changes):
    connected.drive(temp=46.0)
    bench.take(replace(connected.beat(), **changes))
    assert told(bench) == []


# Laws


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_once_the_backlog_has_drained_faults_are_those_that_they_are_without_heartbeats(
    data, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("law")
    with_beats, without = Bench(folder / "with.db"), Bench(folder / "without.db")
    vehicle = Vehicle()
    first = [vehicle.greeting, vehicle.schema, vehicle.run()]
    for bench in (with_beats, without):
        bench.take(*first)
    waiting: list = []
    for _ in range(data.draw(st.integers(5, 25))):
        match data.draw(st.sampled_from(["drive", "drive", "beat", "beat", "send", "run", "restart", "gap"])):
            case "drive":
                late = data.draw(st.booleans())
                temp = data.draw(st.sampled_from([20.0, 44.0, 46.0]))
                step = data.draw(st.sampled_from([0.0, 0.3, -0.3]))
                count = data.draw(st.integers(1, 15))
                waiting.append(vehicle.drive(count, temp=temp, step=step, late=late))
            case "beat" if vehicle.blocks and vehicle.blocks[-1][0] == vehicle.stream_no:
                with_beats.take(vehicle.beat())
            case "run" if vehicle.blocks and vehicle.blocks[-1][0] == vehicle.stream_no:
                described = vehicle.run()
                for bench in (with_beats, without):
                    bench.take(described)
            case "send" if waiting:
                for item in waiting[: data.draw(st.integers(1, len(waiting)))]:
                    both(with_beats, without, item)
                    waiting.remove(item)
            case "restart":
                with_beats.restart()
            case _:
                pass
        nothing_provisional_is_stored(with_beats)
    waiting.append(vehicle.drive(temp=20.0, count=data.draw(st.integers(1, 5))))
    for item in waiting:
        both(with_beats, without, item)
    assert provisional(with_beats) == []
    names = (
        open_store(without.path).faults()[0].keys() - {"page"} if open_store(without.path).faults() else ()
    )
    rows = [
        [{name: row[name] for name in names} for row in open_store(bench.path).faults()]
        for bench in (with_beats, without)
    ]
    assert rows[0] == rows[1]
    for bench in (with_beats, without):
        everybody_is_told_what_happened(bench)
        bench.ledger.close()


def both(one, other, item) -> None:
    assert one.take(item) == other.take(item)


def nothing_provisional_is_stored(bench) -> None:
    for outbox in bench.ingest.outboxes.values():
        assert all(shown.place >= outbox.position for shown in outbox.paging.provisional.values())
        with bench.ledger.transaction() as transaction:
            assert transaction.paging(outbox.id) == outbox.paging


def everybody_is_told_what_happened(bench) -> None:
    store = open_store(bench.path)
    by_page = defaultdict(list)
    for row in store.notices():
        by_page[row["page"]].append(row)
    faults = {row["page"]: row for row in store.faults() if row["page"]}
    for page, notices in by_page.items():
        kinds = [(row["kind"], bool(row["provisional"])) for row in notices]
        assert kinds in (
            [OPENED], [OPENED, CLOSED], [DIGEST], [RAISED, WITHDRAWN], [RAISED, CONFIRMED], [RAISED, CONFIRMED, CLOSED],
        )  # fmt: skip
        if kinds[-1] in (CLOSED, OPENED, CONFIRMED):
            assert (faults[page]["ended_at"] is None) == (kinds[-1] != CLOSED)
    ended = [row for row in store.faults() if row["ended_at"]]
    assert len(ended) == sum(row["kind"] in ("closed", "digest") for row in store.notices())
    assert all(row["page"] or row["ended_at"] for row in store.faults()), "the last batch was in time"
