"""What the demo writes for its agents is what the agent reads."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from collector.config import KEYS, load_config
from demo.settings import ACK_WITHIN_S, LOSS_MAX_S, Drive, agent_toml, collector_toml, toml
from edge_agent.config_file import parse_config

DRIVE = Drive(
    "5YJ3E1EA7JF000316",
    "Model 3",
    "1.0",
    Path("/drives/city.log.gz"),
    (Path("/dbc/car.dbc"),),
    20.0,
    "city",
    {"Speed": 2.0, "Motor.Temp": {"threshold": 1.0}},
)


def test_the_agent_understands_it():
    text = agent_toml(DRIVE, address="127.0.0.1:4242", outbox=Path("/run/outbox.db"), epoch=1_700_000_000.25)
    config = parse_config(text, Path("/run/agent.toml"), {})
    assert config.vehicle.id == DRIVE.vin
    assert config.collector.address == "127.0.0.1:4242"
    assert (config.outbox.path, config.outbox.loss_max_s) == ("/run/outbox.db", LOSS_MAX_S)
    assert config.demo.side_log
    assert config.buses[0].channel == str(DRIVE.log)
    assert config.buses[0].options == {"speed": 20.0, "epoch": 1_700_000_000.25}
    assert set(config.signals or ()) == {"Speed", "Motor.Temp"}


def test_the_collector_understands_it(tmp_path):
    file = tmp_path / "collector.toml"
    file.write_text(collector_toml(0, tmp_path / "collector.db", tmp_path / "rules.toml"))
    config = load_config(file, {}, {})
    assert (config.listen, config.ack_within_s) == ("127.0.0.1:0", ACK_WITHIN_S)
    assert {getattr(config, key) for key in KEYS if key.startswith("keep_")} == {
        0
    }  # a drive may be years old
    assert (config.store, config.rules) == (tmp_path / "collector.db", tmp_path / "rules.toml")


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=8)
_VALUES = (
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
)
_INLINE = _VALUES | st.lists(_VALUES, max_size=3) | st.dictionaries(_TEXTS, _VALUES, max_size=3)
_TABLES = st.dictionaries(_TEXTS, _INLINE, max_size=3)


@given(st.dictionaries(_TEXTS, _TABLES | st.lists(_TABLES, min_size=1, max_size=2), max_size=3))
def test_toml_reads_back_as_what_was_written(document):
    assert tomllib.loads(toml(document)) == document
