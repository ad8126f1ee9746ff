from __future__ import annotations

import pytest

from codec.schema import Kind
from decoder.frames import EXTENDED
from decoder.plan import PlanError, SignalChoice, build_plan
from tests.decoder import dbc_writer

BUS = dbc_writer.bus(
    "BO_ 256 Car: 8 X", ' SG_ Speed : 0|16@1+ (0.1,-10) [0|250] "km/h" X', ' SG_ Gear : 16|4@1+ (1,0) [0|15] "" X',
    "BO_ 257 Text: 16 X", ' SG_ Words : 0|120@1+ (1,0) [0|0] "" X', 'VAL_ 256 Gear 1 "R" 0 "P" ;',
    'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 9999;', 'BA_ "GenMsgCycleTime" BO_ 256 1000;',
)  # fmt: skip
SPEED = SignalChoice("Speed", 0, "Car", "Speed", threshold=3.0)


def test_the_schema_holds_what_a_reader_needs():
    plan = build_plan([BUS], [SPEED, SignalChoice("Gear", 0, "Car", "Gear")], rate_hz=20)
    speed, gear = plan.schema.signals
    assert plan.schema.rate_hz == 20
    assert (speed.factor, speed.offset, speed.unit, speed.kind) == (0.1, -10, "km/h", Kind.SCALED)
    assert (speed.minimum, speed.maximum, speed.threshold, speed.source) == (0, 250, 3.0, "can0:Car.Speed")
    assert gear.labels == ((0, "P"), (1, "R"))


def test_a_signal_is_stale_after_5_cycles_or_2_s_or_as_it_is_told():
    plan = build_plan([BUS], [SPEED, SignalChoice("Gear", 0, "Car", "Gear", timeout_s=0.5)])
    assert plan.timeouts_ns.tolist() == [5_000_000_000, 500_000_000]
    assert plan.learns_timeout.tolist() == [True, False]


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (
            SignalChoice("X", 0, "Car", "Sped"),
            r"signal X: bus can0 has no Car.Sped; did you mean Car.Speed\?",
        ),
        (SignalChoice("X", 3, "Car", "Speed"), "bus number 3 has no Car.Speed"),
        (SignalChoice("X", 0, "Text", "Words"), "120 bits are text and no number"),
        (SignalChoice("X", 0, "Car", "Speed", threshold=-1), "cannot be negative"),
        (SignalChoice("X", 0, "Car", "Speed", timeout_s=0), "timeout_s = 0 must be more"),
    ],
)
def test_what_cannot_be_sampled_is_refused_by_name(choice, why):
    with pytest.raises(PlanError, match=why):
        build_plan([BUS], [choice])


def test_what_only_cantools_could_read_is_named():
    bus = dbc_writer.bus(
        "BO_ 257 Text: 24 X", ' SG_ Words : 0|120@1+ (1,0) [0|0] "" X', ' SG_ More : 120|70@1+ (1,0) [0|0] "" X',
        "BO_ 258 Pages: 16 X", ' SG_ Page M : 0|65@1+ (1,0) [0|0] "" X', ' SG_ One m1 : 80|8@1+ (1,0) [0|0] "" X',
        "BO_ 259 Plain: 8 X", ' SG_ S : 0|8@1+ (1,0) [0|0] "" X',
    )  # fmt: skip
    plan = build_plan([bus], [SignalChoice("S", 0, "Plain", "S")])
    assert plan.warnings == (
        (
            "test.dbc: message Text: Words cannot be sampled: 120 bits are text and no number; `replay-logs decode` leaves "
            "it to cantools"
        ),
        (
            "test.dbc: message Text: More cannot be sampled: 70 bits are text and no number; `replay-logs decode` leaves it "
            "to cantools"
        ),
        (
            "test.dbc: message Pages: Page, One cannot be sampled: its message has Page, which has 65 bits; `replay-logs "
            "decode` leaves it to cantools"
        ),
    )


def test_more_signals_than_a_schema_holds_are_refused_in_one_line():
    with pytest.raises(PlanError, match=r"^4097 signals are chosen, and 4096 can be sampled; choose fewer$"):
        build_plan([BUS], [SPEED] * 4097)


def test_names_and_signals_are_chosen_once():
    with pytest.raises(PlanError, match="stand twice"):
        build_plan([BUS], [SPEED, SPEED])
    with pytest.raises(PlanError, match="chosen twice"):
        build_plan([BUS], [SPEED, SignalChoice("Again", 0, "Car", "Speed")])


def test_filters_let_the_wanted_frames_through():
    def signal(name: str) -> str:
        return f' SG_ {name} : 0|8@1+ (1,0) [0|0] "" X'

    bus = dbc_writer.bus(
        "BO_ 256 A: 8 X", signal("A"), f"BO_ {EXTENDED | 0x18FEF1FE} B: 8 X", signal("B"), f"BO_ {EXTENDED | 0x0C0000FE} C: 8 X", signal("C"),
        f"BO_ {EXTENDED | 5} D: 8 X", signal("D"), "BO_ 7 Unwanted: 8 X", signal("E"), 'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","x","J1939PG";',
        f'BA_ "VFrameFormat" BO_ {EXTENDED | 0x18FEF1FE} 3;', f'BA_ "VFrameFormat" BO_ {EXTENDED | 0x0C0000FE} 3;',
    )  # fmt: skip
    plan = build_plan([bus], [SignalChoice(name, 0, name, name) for name in "ABCD"])
    assert sorted(plan.wanted_ids(0)) == [
        (0, 0x03FF0000, True),
        (5, 0x1FFFFFFF, True),
        (0x100, 0x7FF, False),
        (0x00FEF100, 0x03FFFF00, True),
    ]
    assert plan.wanted_ids(1) == []
