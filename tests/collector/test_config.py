from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config import Config, ConfigError, load_config
from tests.damage import TOML_TOKENS, damaged


def test_without_a_file_it_is_sqlite_here_and_loopback_only():
    config = load_config(None, {}, {})
    assert (config.listen, config.store) == ("127.0.0.1:50051", Path("collector.db"))
    assert config.rules.name == "demo.toml"


def test_detectors_are_a_table_of_the_file(tmp_path):
    file = tmp_path / "collector.toml"
    file.write_text(
        '[detectors]\nrobust = true\nignore = ["Odo"]\nmodels = ["a.forest"]\n[detectors.limits]\nTemp = 4\n'
    )
    detectors = load_config(file, {}, {}).detectors
    assert (detectors.zscore, detectors.robust, detectors.limit) == (True, True, 2.5)
    assert (detectors.ignore, detectors.limits) == (("Odo",), {"Temp": 4.0})
    assert detectors.models == (str(tmp_path / "a.forest"),)  # relative to its file
    with pytest.raises(ConfigError, match="environment: detectors: 'x' is not a table"):
        load_config(None, {"DEADRECKON_COLLECTOR_DETECTORS": "x"}, {})


def test_flags_win_over_variables_over_the_file(tmp_path):
    file = tmp_path / "collector.toml"
    file.write_text('listen = "127.0.0.1:1"\nstore = "a.db"\nack_within_s = 5\n')
    environment = {"DEADRECKON_COLLECTOR_LISTEN": "127.0.0.1:2", "DEADRECKON_COLLECTOR_ACK_WITHIN_S": "7"}
    config = load_config(file, environment, {"listen": "127.0.0.1:3", "rules": None})
    assert (config.listen, config.ack_within_s) == ("127.0.0.1:3", 7.0)
    assert config.store == tmp_path / "a.db"  # relative to its file


def test_the_agents_own_variables_are_left_alone():
    load_config(None, {"DEADRECKON_COLLECTOR_ADDRESS": "x", "DEADRECKON_OUTBOX_PATH": "y"}, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('lisen = "127.0.0.1:1"', "collector.toml: unknown key lisen; did you mean listen?"),
        ('listen = "127.0.0.1"', "is not host:port"),
        ('listen = "127.0.0.1:99999"', "port 99999: must be 0 to 65535"),
        ('listen = "0.0.0.0:50051"', "without TLS"),
        ('listen = "collector.example:50051"', "without TLS"),
        ("window_bytes = 10", "window_bytes: 10: must be 1024"),
        ("window_bytes = 5000.5", "window_bytes: 5000.5 is not a whole number"),
        ("window_bytes = true", "window_bytes: True is not a whole number"),
        ('ack_within_s = "soon"', "ack_within_s: 'soon' is not a number"),
        ("store = 7", "store: 7 is not a path"),
        ("listen = 7", "listen: 7 is not a text"),
        ('insecure = "maybe"', "insecure: 'maybe' is not true or false"),
        ("listen =", "not TOML"),
        ("detectors = 7", "detectors: 7 is not a table, [detectors]"),
        ("[detectors]\nlimt = 3", "detectors: unknown key limt; did you mean limit?"),
        ("[detectors]\nlimit = 0", "detectors: limit: 0: must be more than 0"),
        ('[detectors]\nzscore = "on"', "detectors: zscore: 'on' is not true or false"),
        ("[detectors]\nwindow_s = 9.5", "detectors: window_s: 9.5 is not a whole number"),
        ("[detectors]\nsamples_min = 200", "detectors: samples_min: 200: must be 2 to window_s (120)"),
        ("[detectors.limits]\nTemp = -1", "detectors: limits.Temp: -1: must be more than 0"),
        ('ignore = "Temp"', "unknown key ignore"),
        ('[detectors]\nignore = "Temp"', "detectors: ignore: 'Temp' is not a list of texts"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(tmp_path, text, says):
    file = tmp_path / "collector.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {}, {})
    assert says in str(caught.value)
    assert "collector.toml" in str(caught.value)


def test_a_variable_that_is_unknown_is_named_as_it_is_written():
    with pytest.raises(
        ConfigError, match="DEADRECKON_COLLECTOR_LISTN; did you mean DEADRECKON_COLLECTOR_LISTEN"
    ):
        load_config(None, {"DEADRECKON_COLLECTOR_LISTN": "x"}, {})


def test_listening_beyond_loopback_has_to_be_wanted():
    assert load_config(None, {}, {"listen": "0.0.0.0:1", "insecure": True}).insecure
    for host in ("localhost", "127.8.8.8", "[::1]"):
        load_config(None, {}, {"listen": f"{host}:1"})


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nowhere.toml", {}, {})


def test_the_configuration_is_a_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().listen = "x"  # type: ignore[misc]


@given(seed=st.integers(0, 1 << 32))
def test_whatever_the_file_holds_it_is_read_or_refused_in_one_line_that_names_it(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "damaged-collector.toml"
    whole = b'listen = "127.0.0.1:50051"\nstore = "c.db"\nrules = "r.toml"\nwindow_bytes = 262144\nack_within_s = 9.0\ninsecure = true\n'
    path.write_bytes(damaged(whole, seed, TOML_TOKENS))
    try:
        load_config(path, {}, {})
    except ConfigError as error:
        refusal = str(error)
    else:
        return
    assert refusal.startswith(str(path))
    assert len(refusal.splitlines()) == 1
