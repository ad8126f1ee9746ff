"""What the configuration makes of DBCs, and what `check` says about them."""

from __future__ import annotations

import pytest

from codec.records import Availability
from decoder.sampler import Sampler
from edge_agent.__main__ import main
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config
from tests.decoder import dbc_writer

CAR = """BO_ 256 Car: 8 X
 SG_ State : 0|8@1+ (1,0) [0|255] "" X
 SG_ Speed : 8|8@1+ (1,0) [0|100] "km/h" X
BO_ 257 Text: 24 X
 SG_ Words : 0|120@1+ (1,0) [0|0] "" X
VAL_ 256 State 0 "Off" 1 "On" 3 "Asleep" 255 "SNA" ;
VAL_ 256 Gone 1 "x" ;
"""
AGENT = """[vehicle]
id = "asset:a"
[[bus]]
interface = "virtual"
channel = "can0"
dbc = ["car.dbc"]
"""
A, NOT = Availability.AVAILABLE, Availability.NOT_AVAILABLE


@pytest.fixture
def states(tmp_path):
    """The states of both signals for the data of one frame, under some settings."""
    (tmp_path / "car.dbc").write_text(CAR)

    def found(settings: str, data: str) -> list[int]:
        (tmp_path / "agent.toml").write_text(AGENT + settings)
        plan, _ = make_plan(load_config(tmp_path / "agent.toml", {}))
        sampler = Sampler(plan)
        sampler.feed(dbc_writer.frames((1, 256, data)))
        (run,) = sampler.advance(1_000_000_000)
        return run.states[0].tolist()

    return found


def test_the_words_for_not_available_are_a_setting(states):
    assert states("", "0000") == [A, A]
    assert states("", "FF00") == [NOT, A]
    assert states("", "0300") == [A, A]
    assert states('[sampling]\nnot_available = ["asleep"]', "0300") == [NOT, A]
    assert states('[sampling]\nnot_available = ["asleep"]', "FF00") == [A, A]


def test_values_outside_of_the_range_are_rejected_by_signal(states):
    assert states("", "0065") == [A, A]
    assert states("[signals]\nState = 0\nSpeed = { reject_outside = true }", "0065") == [A, NOT]
    assert states("[signals]\nState = 0\nSpeed = { reject_outside = true }", "0064") == [A, A]


def test_check_names_what_was_repaired_or_left_out_and_what_only_cantools_reads(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "car.dbc").write_text(CAR)
    (tmp_path / "agent.toml").write_text(AGENT)
    assert main(["check", "--config", "agent.toml"]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: car.dbc: line 7: VAL_ left out: Car has no signal Gone",
        (
            "note: car.dbc: message Text: Words cannot be sampled: 120 bits are text and no number; `replay-logs decode` "
            "leaves it to cantools"
        ),
    ]
