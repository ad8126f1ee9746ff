"""`collector webhooks`: what it says, and what it does."""

from __future__ import annotations

import json

import pytest

from collector.__main__ import main
from collector.store.webhooks import DeadLetter, WebhookStore
from collector.webhooks.plan import Standing
from tests.collector.webhooks.receiver import receiving
from tests.collector.webhooks.samples import NOW

LETTER = DeadLetter("ops", "ops-1-1", b'{"notices":[]}', "HTTP 410 gone", "2026-11-28T07:15:30.000Z")


def file_for(tmp_path, url):
    path = tmp_path / "webhooks.toml"
    path.write_text(f'[[webhook]]\nname = "ops"\nurl = "{url}"\n')
    return str(path)


@pytest.fixture
def letters(bench):
    store = WebhookStore(bench.path, "test")
    store.claim("ops", NOW)
    for _ in range(2):
        store.keep("ops", Standing(0), LETTER, NOW)
    yield store
    store.close()


def test_check_says_who_is_told_what(tmp_path, capsys):
    assert main(["webhooks", "check", file_for(tmp_path, "https://example.org/x")]) == 0
    assert capsys.readouterr().out == (
        "ops: https://example.org/x, json, NOT SIGNED; CRITICAL WARNING; closed confirmed digest opened withdrawn\n"
    )


def test_test_tells_of_a_fault_that_is_none(tmp_path, capsys):
    with receiving() as receiver:
        path = file_for(tmp_path, receiver.url)
        assert main(["webhooks", "test", path, "ops"]) == 0
        kinds = [json.loads(body)["notices"][0]["kind"] for _, body in receiver.received]
        assert kinds == ["opened", "closed"]
        receiver.answers.append((404, {}, "no such hook"))
        assert main(["webhooks", "test", path, "ops"]) == 1
        assert "ops: not taken: HTTP 404 no such hook" in capsys.readouterr().err
        assert main(["webhooks", "test", path, "opps"]) == 1
        assert "no webhook 'opps' in the file; there is ops" in capsys.readouterr().err


def test_dead_letters_are_listed_sent_again_and_forgotten(tmp_path, letters, bench, capsys):
    where = ["--store", str(bench.path)]
    assert main(["webhooks", "dead", "--format", "csv", *where]) == 0
    assert "1,ops,ops-1-1,2026-11-28T07:15:30.000Z,HTTP 410 gone\n" in capsys.readouterr().out
    with receiving() as receiver:
        path = file_for(tmp_path, receiver.url)
        assert main(["webhooks", "retry", path, "1", *where]) == 0
        ((headers, body),) = receiver.received
        assert (headers["deadreckon-delivery"], body) == ("ops-1-1", LETTER.body)
        receiver.answers.append((500, {}, "still not"))
        assert main(["webhooks", "retry", path, *where]) == 1
    assert [letter.id for letter in letters.dead_letters()] == [2]
    assert main(["webhooks", "drop", "7", *where]) == 1
    assert "there is no dead letter 7" in capsys.readouterr().err
    assert main(["webhooks", "drop", "2", *where]) == 0
    assert letters.dead_letters() == []
