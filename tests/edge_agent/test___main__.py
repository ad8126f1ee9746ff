"""The command line, as somebody with a DBC of their own meets it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tomllib

import pytest

from edge_agent.__main__ import main
from edge_agent.choices import make_plan
from edge_agent.config_file import parse_config
from edge_agent.estimate import ENVELOPE_BYTES, estimate, render_estimate
from tests.compiled import WITHOUT_NUMBA
from tests.data_folder import recording
from tests.edge_agent.test_app import configured, written_log


@pytest.fixture
def folder(tmp_path, monkeypatch):
    written_log(tmp_path, 30)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_configuration_that_check_takes(folder, capsys):
    assert main(["init", "--dbc", "car.dbc", "-o", "agent.toml"]) == 0
    text = (folder / "agent.toml").read_text()
    assert "# Motion.VehicleSpeed; km/h; 0 to 250; " in text
    assert tomllib.loads(text)["signals"]["VehicleSpeed"] == pytest.approx(3.2187)
    assert main(["check", "--config", "agent.toml"]) == 0
    assert "VehicleSpeed  +-3.2187 km/h" in capsys.readouterr().out
    assert main(["init", "--dbc", "car.dbc", "-o", "agent.toml"]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["init", "--dbc", "car.dbc", "-o", "-"]) == 0
    assert tomllib.loads(capsys.readouterr().out)


def test_init_comments_out_what_goes_beyond_the_budget(folder):
    assert main(["init", "--dbc", "car.dbc", "-o", "agent.toml", "--budget-mb", "0"]) == 0
    text = (folder / "agent.toml").read_text()
    assert list(tomllib.loads(text)["signals"]) == ["VehicleSpeed"]
    assert "# Gear = 0" in text
    assert "1 of 2 signals are commented out" in text


def test_init_with_a_log_chooses_what_occurs_in_it(folder, capsys):
    silent = 'BO_ 1291 Silent: 8 X\n SG_ Pressure : 0|16@1+ (0.1,0) [0|500] "bar" X\n'
    (folder / "wide.dbc").write_text((folder / "car.dbc").read_text() + silent)
    init = ["init", "--dbc", "wide.dbc", "-o", "agent.toml", "--budget-mb", "9999", "--force"]
    assert main(init) == 0
    assert "Pressure" in tomllib.loads((folder / "agent.toml").read_text())["signals"]
    assert main([*init, "--log", "drive.log"]) == 0
    assert "2 of the 2 signals that occur in drive.log" in capsys.readouterr().out
    text = (folder / "agent.toml").read_text()
    assert sorted(tomllib.loads(text)["signals"]) == ["Gear", "VehicleSpeed"]
    assert "# 1 signals of messages that are not in drive.log:" in text
    assert "# Pressure = " in text
    (folder / "other.log").write_text("(1.0) can0 7FF#00\n")
    assert main([*init, "--log", "other.log"]) == 2
    assert "other.log: none of its 1 frames is in the DBCs" in capsys.readouterr().err
    assert main([*init, "--log", "none.log"]) == 1
    assert "none.log" in capsys.readouterr().err


def test_init_says_what_is_left_to_set(folder, capsys):
    init = ["init", "--dbc", "car.dbc", "-o", "agent.toml", "--force"]
    assert main(init) == 0
    assert "Next: set [vehicle] id in it, then edge-agent check" in capsys.readouterr().out
    assert main([*init, "--vehicle", "asset:press-4"]) == 0
    assert "Next: edge-agent check" in capsys.readouterr().out
    assert main([*init, "--vehicle", "my car"]) == 2
    assert "--vehicle: 'my car' is no VIN" in capsys.readouterr().err


def test_init_proposes_no_more_than_can_be_sampled(folder, monkeypatch):
    monkeypatch.setattr("edge_agent.propose.SIGNALS_MAX", 1)
    assert main(["init", "--dbc", "car.dbc", "-o", "agent.toml", "--budget-mb", "9999"]) == 0
    assert list(tomllib.loads((folder / "agent.toml").read_text())["signals"]) == ["VehicleSpeed"]


@pytest.mark.parametrize(
    ("folder_name", "dbc"),
    [("mustang", "ford_lincoln_base_pt.dbc"), ("leaf", "EV-can_ZE1.dbc")],
)
def test_init_copes_with_dbcs_of_the_world(tmp_path, folder_name, dbc):
    path = recording(f"{folder_name}/{dbc}")
    output = tmp_path / "agent.toml"
    assert main(["init", "--dbc", str(path), "-o", str(output), "--budget-mb", "6"]) == 0
    config = parse_config(output.read_text(), output, {})
    assert 1 <= len(make_plan(config)[0].schema.signals) <= 100


def test_mistakes_are_told_and_the_exit_status_is_2(folder, capsys):
    config = "[vehicle]\nid='asset:a'\n[[bus]]\ninterface='replay'\nchannel='drive.log'\ndbc=['car.dbc']\n"
    (folder / "agent.toml").write_text(config + "[signals]\nVehicleSped = 1")
    assert main(["check", "--config", "agent.toml"]) == 2
    assert (
        "signals.VehicleSped: the DBCs have no such signal; did you mean VehicleSpeed?"
        in capsys.readouterr().err
    )
    (folder / "agent.toml").write_text(config.replace("car.dbc", "none.dbc"))
    assert main(["run", "--config", "agent.toml"]) == 2
    assert "none.dbc" in capsys.readouterr().err
    assert main(["check"]) == 1


def test_settings_are_listed(capsys):
    assert main(["check", "--settings"]) == 0
    assert "DEADRECKON_OUTBOX_QUOTA_BYTES" in capsys.readouterr().out


def test_status_says_so_when_nothing_runs(folder, capsys):
    main(["init", "--dbc", "car.dbc", "-o", "agent.toml"])
    assert main(["status", "--config", "agent.toml"]) == 3
    assert "not running" in capsys.readouterr().out


def test_an_estimate_adds_up(folder):
    config, plan = configured(folder, 1)
    found = estimate("drive.log", config, plan)
    assert found.seconds == pytest.approx(30, abs=0.1)
    assert found.block_count == 3
    assert sum(found.signal_bytes.values()) <= found.block_bytes
    assert found.wire_bytes >= found.block_bytes + 3 * ENVELOPE_BYTES
    table = render_estimate(found, hours=60)
    assert "may read 0" not in table
    assert table.index("VehicleSpeed") < table.index("headers, acks, heartbeats")


def test_a_log_of_another_car_is_told(folder, capsys):
    (folder / "other.log").write_text("(1.0) can0 7FF#00\n")
    main(["init", "--dbc", "car.dbc", "-o", "agent.toml"])
    assert main(["estimate", "other.log", "--config", "agent.toml"]) == 1
    assert "is this the DBC of that vehicle?" in capsys.readouterr().err
    assert main(["estimate", "none.log", "--config", "agent.toml"]) == 1


def test_it_runs_without_numba_where_kernels_were_compiled_ahead(compiled, folder, tmp_path, capsys):
    assert main(["init", "--dbc", "car.dbc", "-o", "agent.toml"]) == 0
    capsys.readouterr()
    assert main(["estimate", "drive.log", "--config", "agent.toml"]) == 0
    compiled.install(tmp_path / "installed", "codec", "decoder", "edge_agent", "protos", "replay_logs")
    command = "from edge_agent import app, uplink; from edge_agent.__main__ import main; sys.exit(main(sys.argv[1:]))"

    def without_numba():
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_NUMBA + command, "estimate", "drive.log", "--config", "agent.toml"],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        )  # fmt: skip

    ran = without_numba()
    assert (ran.returncode, ran.stdout) == (0, capsys.readouterr().out)
    for library in (tmp_path / "installed" / "decoder").glob("kernels.*.so"):
        library.unlink()
    ran = without_numba()
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].endswith(
        "Where numba is installed, none of this is needed: pip install numba"
    )


def test_an_estimate_names_signals_that_never_leave_their_threshold(folder):
    config, plan = configured(folder, 1)
    signals = tuple(dataclasses.replace(one, threshold=1e6) for one in plan.schema.signals)
    wide = dataclasses.replace(plan, schema=dataclasses.replace(plan.schema, signals=signals))
    found = estimate("drive.log", config, wide)
    assert found.flat
    assert ", ".join(found.flat) in render_estimate(found, hours=60)


def test_a_log_that_is_not_there_is_named_before_it_is_played(folder, capsys):
    main(["init", "--dbc", "car.dbc", "--interface", "replay", "--channel", "none.log", "-o", "agent.toml"])
    assert main(["check", "--config", "agent.toml"]) == 1
    assert "the log that it plays is not there" in capsys.readouterr().err
