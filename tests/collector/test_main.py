from __future__ import annotations

import subprocess
import sys

import pytest

from collector.__main__ import build_parser, main


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in ("serve", "query", "tail", "import"))


def test_a_wrong_configuration_is_one_line_and_status_2(tmp_path, capsys):
    file = tmp_path / "c.toml"
    file.write_text("lisen = 1")
    assert main(["serve", "--config", str(file)]) == 2
    assert capsys.readouterr().err == f"collector: {file}: unknown key lisen; did you mean listen?\n"


def test_asking_for_help_loads_nothing_heavy():
    code = "import sys, collector.__main__ as m; m.build_parser(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"grpc", "sqlalchemy", "rich", "can", "pandas", "pyarrow", "asammdf", "cantools"} & set(loaded)


def test_query_starts_without_what_only_serve_or_import_need(bench):
    code = f"import sys; from collector.__main__ import main; main(['query', 'vehicles', '--store', {str(bench.path)!r}]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"grpc", "can", "pandas", "pyarrow", "asammdf", "cantools"} & set(loaded)


def test_a_pipe_that_closes_is_no_error(bench, connected):
    bench.take(*(connected.drive(40) for _ in range(50)))
    command = f"{sys.executable} -m collector query signal Temp --format csv --store {bench.path} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("timestamp,Temp\n", "")


def test_every_key_of_the_configuration_is_an_option_of_the_command_that_it_is_for():
    from collector.config import KEYS

    options = vars(build_parser().parse_args(["serve"]))
    assert set(options) - {"config", "run", "verbose"} == {key for key in KEYS if "sentinel_" not in key} - {
        "detectors"  # a table, of the file
    }
    options = vars(build_parser().parse_args(["sentinel"]))
    limits = {f"sentinel_{name}" for name in set(options) - {"config", "run", "format", "store", "all"}}
    assert limits == {key for key in KEYS if "sentinel_" in key}


def test_a_time_ago_is_no_option(bench, connected, capsys):
    bench.take(connected.drive(40))
    for ago in (["--from", "-9000d"], ["--from=-9000d"]):
        assert main(["query", "signal", "Temp", "--format", "csv", "--store", str(bench.path), *ago]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 41
