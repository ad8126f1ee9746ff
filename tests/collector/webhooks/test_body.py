from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

from collector.webhooks.body import body_of, delivery_name, headers_of
from tests.collector.webhooks.samples import TARGET, notice

SIGNED = replace(TARGET, secret=b"s3cret")


def test_a_delivery_is_named_by_its_webhook_and_notices():
    name = delivery_name(TARGET, [notice(7), notice(9)])
    assert name.startswith("ops-7-9-")
    assert name == delivery_name(TARGET, [notice(7), notice(9)])


def test_other_notices_under_the_same_numbers_as_after_a_restored_backup_are_another_delivery():
    later = notice(9, noted_ns=notice(9).noted_ns + 60_000_000_000)
    assert delivery_name(TARGET, [notice(7), notice(9)]) != delivery_name(TARGET, [notice(7), later])


def test_in_our_own_words():
    told = json.loads(body_of(TARGET, [notice(7, peak=46.5), notice(8, "closed", "x")]))
    named = delivery_name(TARGET, [notice(7), notice(8)])
    assert (told["version"], told["webhook"], told["delivery"]) == (1, "ops", named)
    assert [(one["id"], one["kind"], one["peak"]) for one in told["notices"]] == [
        (7, "opened", 46.5),
        (8, "closed", None),
    ]
    assert "noted_ns" not in told["notices"][0]


def test_in_alertmanagers_words():
    ended = {"ended_at": "2026-11-28T08:00:00.000Z"}
    target = replace(TARGET, format="alertmanager")
    told = json.loads(
        body_of(target, [notice(7, peak=46.5, provisional=True), notice(8, "closed", "x", **ended)])
    )
    assert (told["version"], told["status"], told["receiver"]) == ("4", "firing", "ops")
    first, second = told["alerts"]
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert first["labels"] == {
        "alertname": "BATTERY_OVERTEMP",
        "severity": "critical",
        "vehicle": "5YJSA1E6XSF004523",
    }
    assert first["annotations"]["provisional"] == "true"
    assert (second["status"], second["endsAt"]) == ("resolved", "2026-11-28T08:00:00.000Z")
    assert first["fingerprint"] != second["fingerprint"]
    assert told["commonLabels"] == first["labels"]
    assert told["commonAnnotations"] == {"summary": "Battery hotter than 45 degC", "action": "Stop."}
    digest = json.loads(body_of(target, [notice(9, "digest", **ended)]))
    assert (digest["status"], digest["alerts"][0]["status"]) == ("resolved", "resolved")


def test_whoever_has_the_secret_can_tell_that_it_is_ours():
    body = body_of(SIGNED, [notice(7)])
    headers = headers_of(SIGNED, "ops-7-7", body, 1_795_850_130)
    seconds, _, signature = headers["Deadreckon-Signature"].removeprefix("t=").partition(",v1=")
    assert signature == hmac.new(b"s3cret", seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["Deadreckon-Delivery"] == "ops-7-7"
    assert "Deadreckon-Signature" not in headers_of(TARGET, "ops-7-7", body, 1_795_850_130)
    assert "s3cret" not in repr(SIGNED)


def test_a_peak_that_is_no_number_is_null():
    (told,) = json.loads(body_of(TARGET, [notice(1, peak=float("inf"))]))["notices"]
    assert told["peak"] is None
