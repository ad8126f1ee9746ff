from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.webhooks.targets import NS, Target, TargetError, load_targets
from tests.collector.webhooks.samples import notice
from tests.damage import TOML_TOKENS, damaged

FILE = """
[[webhook]]
name = "ops"
url = "https://hooks.example.org/deadreckon"
secret_env = "OPS_SECRET"
severities = ["CRITICAL"]
kinds = ["opened", "closed"]
format = "alertmanager"
group_s = 2.5
per_minute = 6
give_up_s = 600

[[webhook.silence]]
days = ["fri"]
from = "22:00"
to = "06:00"
timezone = "Europe/Berlin"
codes = ["LOW_*"]
vins = ["WVW*"]
"""
SECRETS = {"OPS_SECRET": "s3cret"}


def load(tmp_path, text, environment=SECRETS):
    path = tmp_path / "webhooks.toml"
    path.write_text(text)
    return load_targets(path, environment)


def test_every_key_is_read(tmp_path):
    (target,) = load(tmp_path, FILE)
    assert replace(target, silences=()) == Target(
        "ops", "https://hooks.example.org/deadreckon", b"s3cret", "alertmanager", frozenset({"CRITICAL"}),
        frozenset({"opened", "closed"}), 2.5, 6, 600.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-27T20:59:59Z", False),  # Friday, an hour before ten in Berlin
        ("2026-11-27T21:00:00Z", True),
        ("2026-11-28T04:59:59Z", True),  # the night goes on into Saturday
        ("2026-11-28T05:00:00Z", False),
        ("2026-11-28T21:30:00Z", False),  # Saturday's night is not Friday's
        ("2026-07-03T20:30:00Z", True),  # in summer ten is earlier
    ],
)
def test_a_silence_is_in_local_time_and_may_last_past_midnight(tmp_path, moment, holds):
    (target,) = load(tmp_path, FILE)
    now_ns = int(datetime.fromisoformat(moment).timestamp()) * NS
    assert target.is_silenced(notice(1, code="LOW_12V", vin="WVWZZZ1JZXW000001"), now_ns) is holds
    assert not target.is_silenced(notice(1, code="HOT", vin="WVWZZZ1JZXW000001"), now_ns)
    assert not target.is_silenced(notice(1, code="LOW_12V", vin="5YJSA1E6XSF004523"), now_ns)


def test_without_hours_a_silence_lasts_the_whole_day(tmp_path):
    (target,) = load(
        tmp_path,
        FILE.replace('from = "22:00"\nto = "06:00"\n', "").replace('timezone = "Europe/Berlin"\n', ""),
    )
    one = notice(1, code="LOW_12V", vin="WVWZZZ1JZXW000001")
    friday = int(datetime(2026, 11, 27, tzinfo=UTC).timestamp()) * NS
    assert target.is_silenced(one, friday)
    assert target.is_silenced(one, friday + 86_399 * NS)
    assert not target.is_silenced(one, friday + 86_400 * NS)


def test_secrets_may_lie_in_a_file_beside_it(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    (target,) = load(tmp_path, FILE.replace('secret_env = "OPS_SECRET"', 'secret_file = "secret"'), {})
    assert target.secret == b"s3cret"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('name = "ops"\n', ""), "webhook 1: name is missing"),
        (("severities", "severitys"), "webhook ops: unknown key 'severitys'; did you mean severities?"),
        (('"CRITICAL"', '"BAD"'), "severities: 'BAD' is none of INFO, WARNING, CRITICAL"),
        (('["CRITICAL"]', "[]"), "severities: is empty; leave it out for all of them"),
        (
            ("https://", "ftp://"),
            "url: 'ftp://hooks.example.org/deadreckon' is not http://... or https://...",
        ),
        (("2.5", '"x"'), "group_s: must be a number from 0 to 3600, not 'x'"),
        (("per_minute = 6", "per_minute = 0"), "per_minute: must be a number from 1 to 600, not 0"),
        (('"22:00"', '"25:00"'), "silence 1, from: '25:00' is no time of day; write 22:00"),
        (("Europe/Berlin", "Europe/Atlantis"), "silence 1, timezone: 'Europe/Atlantis' is not known"),
        (("[[webhook.silence]]", "[webhook.silence]"), "write each silence as a table, with two brackets"),
        (("OPS_SECRET", "OTHER"), "secret_env: the environment has no OTHER"),
        (("[[webhook]]", "[[webhok]]"), "unknown key 'webhok'; did you mean webhook?"),
    ],
)
def test_mistakes_are_named(tmp_path, change, told):
    with pytest.raises(TargetError) as error:
        load(tmp_path, FILE.replace(*change))
    assert str(error.value).startswith(f"{tmp_path / 'webhooks.toml'}: ")
    assert told in str(error.value)


def test_names_are_used_once(tmp_path):
    with pytest.raises(TargetError, match="two webhooks are named 'ops'"):
        load(tmp_path, FILE + FILE)


@given(st.integers(0, 2**32))
def test_whatever_the_file_holds_it_is_read_or_refused(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "webhooks.toml"
    path.write_bytes(damaged(FILE.encode(), seed, TOML_TOKENS))
    try:
        told = ""
        load_targets(path, SECRETS)
    except TargetError as error:
        told = str(error)
    assert not told or told.startswith(f"{path}: ")
