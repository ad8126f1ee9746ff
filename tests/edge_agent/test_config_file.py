"""Configuration is one frozen value; every mistake is refused, with its place and its remedy."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import SECTIONS, settings_table
from edge_agent.config_file import load_config, parse_config, read_environment
from edge_agent.errors import ConfigError
from tests.damage import TOML_TOKENS, damaged

GOOD = """
[vehicle]
id = "asset:stand-1"
[[bus]]
interface = "socketcan"
channel = "can0"
dbc = ["car.dbc"]
"""


def parsed(text, **environment):
    return parse_config(text, Path("conf/agent.toml"), environment)


def refusal(text, **environment) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(text, **environment)
    return str(refused.value)


def test_defaults_stand_for_what_is_not_said():
    config = parsed(GOOD)
    assert config.outbox.quota_bytes == 256 << 20
    assert config.blocks.online_s == 10
    assert config.signals is None
    assert config.buses[0].name == "can0"
    assert not config.replayed


def test_paths_are_relative_to_the_file():
    config = parsed(GOOD.replace("socketcan", "replay") + '[outbox]\npath = "data/outbox.db"')
    assert config.outbox.path == "conf/data/outbox.db"
    assert config.buses[0].dbc == ("conf/car.dbc",)
    assert config.buses[0].channel == "conf/can0"
    assert config.replayed


def test_a_signal_is_a_threshold_or_a_table():
    config = parsed(GOOD + "[signals]\nSpeed = 2\nHeading = { threshold = 5, circular = 360 }")
    assert config.signals["Speed"].threshold == 2.0
    assert config.signals["Heading"].circular == 360.0
    assert config.signals["Heading"].timeout_s is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[uplink]\nhartbeat_s = 3", ["conf/agent.toml: uplink.hartbeat_s", "did you mean heartbeat_s?"]),
        ("[upling]\n", ["[upling]", "did you mean uplink?"]),
        ("[outbox]\nquota_bytes = '1 GB'", ["outbox.quota_bytes", "a whole number is wanted"]),
        ("[outbox]\nquota_bytes = 10", ["outbox.quota_bytes", "at least 65536"]),
        ("[outbox]\nsynchronous = 'OFF'", ["outbox.synchronous", "FULL or NORMAL"]),
        ("[demo]\nside_log = 1", ["demo.side_log", "true or false"]),
        ("[sampling]\nrate_hz = 30", ["sampling.rate_hz = 30", "take 10, 20, 25, 50 or 100"]),
        ("[sampling]\nrate_hz = nan", ["sampling.rate_hz", "whole number"]),
        ("[blocks]\nonline_s = inf", ["blocks.online_s", "0.1 to 600"]),
        ("[signals]\nSpeed = -1", ["signals.Speed.threshold", "at least 0"]),
        ("[signals]\nSpeed = true", ["signals.Speed", "a threshold is wanted"]),
        ("[signals]\nSpeed = { treshold = 1 }", ["signals.Speed.treshold", "did you mean threshold?"]),
        ("[signals]\n", ["[signals]", "is empty"]),
        ("[collector]\naddress = 'example.org'", ["collector.address", "host:port is wanted"]),
        ("[uplink]\nretry_min_s = 9\nretry_max_s = 3", ["retry_min_s is larger"]),
    ],
)
def test_a_mistake_names_place_and_remedy(line, said):
    message = refusal(f"{GOOD}\n{line}")
    assert all(part in message for part in said), message
    assert message.count("\n") == 0


def test_all_mistakes_are_told_at_once():
    message = refusal("[vehicle]\nid = 'I am no VIN'\n[uplink]\nx = 1\n[[bus]]\ninterface = 3.5")
    assert "vehicle.id" in message
    assert "uplink.x" in message
    assert "bus.interface" in message
    assert "bus.channel: missing" in message
    assert "bus.dbc: missing" in message


def test_no_bus_and_no_vehicle_are_mistakes():
    message = refusal("")
    assert "vehicle.id: missing" in message
    assert "[[bus]]: at least one is wanted" in message


def test_what_is_no_toml_names_the_line():
    assert "line 2" in refusal("[vehicle]\nid = \n")


def test_a_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(ConfigError, match="edge-agent init --dbc F -o"):
        load_config(tmp_path / "none.toml", {})


def test_the_environment_wins_over_the_file():
    config = parsed(
        GOOD,
        DEADRECKON_COLLECTOR_ADDRESS="example.org:1",
        DEADRECKON_OUTBOX_QUOTA_BYTES="1000000",
        DEADRECKON_DEMO_SIDE_LOG="true",
        DEADRECKON_BUS_CHANNEL="can7",
        DEADRECKON_BUS_DBC="a.dbc, b.dbc",
    )
    assert config.collector.address == "example.org:1"
    assert config.outbox.quota_bytes == 1_000_000
    assert config.demo.side_log
    assert config.buses[0].channel == "can7"
    assert config.buses[0].dbc == ("conf/a.dbc", "conf/b.dbc")


def test_a_mistake_in_the_environment_names_the_variable():
    assert "DEADRECKON_UPLINK_HEARTBEAT_S: 'often'" in refusal(GOOD, DEADRECKON_UPLINK_HEARTBEAT_S="often")
    assert "did you mean DEADRECKON_OUTBOX_PATH?" in refusal(GOOD, DEADRECKON_OUTBOX_PAHT="x")
    told = refusal(GOOD, DEADRECKON_SIGNALS_SOC_THRESHOLD="3")
    assert (
        "DEADRECKON_SIGNALS_SOC_THRESHOLD in the environment: signals are set in the configuration only"
        in told
    )


def test_variables_of_others_are_left_alone():
    assert parsed(GOOD, DEADRECKON_DATA="/x", DEADRECKON_COLLECTOR_LISTEN="0.0.0.0:1") == parsed(GOOD)


def test_dotenv_is_read_and_the_environment_wins_over_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DEADRECKON_VEHICLE_ID=asset:a\nDEADRECKON_VEHICLE_MODEL=m\nOTHER=1\n")
    monkeypatch.setenv("DEADRECKON_VEHICLE_ID", "asset:b")
    found = read_environment(tmp_path / "agent.toml")
    assert (found["DEADRECKON_VEHICLE_ID"], found["DEADRECKON_VEHICLE_MODEL"]) == ("asset:b", "m")
    assert "OTHER" not in found


def test_every_setting_is_documented_and_every_documented_default_is_taken():
    for key, variable, default, meaning in settings_table():
        assert meaning, key
        section, _, name = key.partition(".")
        if section in SECTIONS and default != "(required)":
            value = tomllib.loads(f"x = {default}")["x"]
            text = ",".join(value) if isinstance(value, list) else str(value)
            config = parsed(GOOD, **{variable: text})
            read = getattr(getattr(config, section), name)
            assert read == getattr(getattr(parsed(GOOD), section), name), key


@given(
    st.dictionaries(
        st.sampled_from([*SECTIONS, "bus", "signals", "what"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )
)
def test_any_document_is_read_or_refused(document):
    from demo.settings import _inline

    def toml(value):
        return '""' if value is None else _inline(value)

    lines = []
    for key, value in document.items():
        try:
            line = f"{key} = {toml(value)}"
            tomllib.loads(line)
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
        lines.append(line)
    with contextlib.suppress(ConfigError):
        parsed("\n".join(lines))


@given(seed=st.integers(0, 1 << 32))
def test_whatever_the_file_holds_it_is_read_or_every_line_of_the_refusal_names_it(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "damaged-agent.toml"
    whole = (
        GOOD + "options = { bitrate = 500000 }\n[sampling]\nrate_hz = 50\nnot_available = ['sna']\n[outbox]\n"
    )
    whole += (
        "path = 'o.db'\nquota_bytes = 100000000\n[signals]\nA = 2\nB = { threshold = 5, circular = 360 }\n"
    )
    path.write_bytes(damaged(whole.encode(), seed, TOML_TOKENS))
    try:
        load_config(path, {})
    except ConfigError as error:
        refusal = str(error)
    else:
        return
    assert all(line.startswith(str(path)) for line in refusal.splitlines()), refusal
