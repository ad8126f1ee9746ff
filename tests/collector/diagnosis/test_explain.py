from __future__ import annotations

import pytest

from codec.schema import Schema, Signal
from codec.stream import StreamFacts
from collector.diagnosis import load_catalogue
from collector.diagnosis.explain import examine, ranked, status, why_not
from collector.store.stored import StoredRun
from tests.collector.diagnosis.test_diagnose import CATALOGUE, FIRST, RULES, SCHEMA, TEXT, records


def runs(*blocks, schema=SCHEMA):
    return [
        StoredRun(
            "asset:one",
            bytes(16),
            schema,
            StreamFacts(bytes(16), 0, FIRST),
            seq,
            0,
            True,
            block,
            False,
            False,
        )
        for seq, block in enumerate(blocks)
    ]


def test_a_diagnosis_has_its_time_and_its_causes_in_order():
    whole = records("..######" + "." * 40, "....#####" + "." * 40)
    found = examine(CATALOGUE, RULES, runs(whole.slice(0, 6), whole.slice(6, len(whole))))
    ((began_ns, ended_ns, one),) = found.diagnoses
    assert (began_ns, ended_ns) == ((FIRST + 7) * SCHEMA.period_ns, (FIRST + 8) * SCHEMA.period_ns)
    signature = CATALOGUE.signatures[0]
    ((confidence, cause),) = ranked(signature, one)
    assert (confidence, cause.cause) == (pytest.approx(0.25), "x")
    assert [status(part, found) for part in signature.parts] == [
        "held (fault HIGH_A)",
        "held (B > 5 for 0.3 s)",
        "did not hold (C > 5)",
    ]


def test_why_not():
    signature = CATALOGUE.signatures[0]
    missing = examine(CATALOGUE, RULES, runs(records("..####", "")))
    assert list(why_not(signature, missing)) == ["b is required and did not hold (B > 5 for 0.3 s)"]
    apart = examine(CATALOGUE, RULES, runs(records("." * 30 + "####.", "..#####")))
    assert list(why_not(signature, apart)) == [
        "a, b were seen, but never within 2 s of one another, b after a"
    ]


def test_what_a_vehicle_cannot_tell_is_said():
    other = load_catalogue(TEXT.replace("B > 5", "Bee > 5").replace("HIGH_A", "HIGH_Z"))
    found = examine(
        other, RULES, runs(records("..####", ""), schema=Schema(10, (*SCHEMA.signals[:2], Signal("D"))))
    )
    assert list(why_not(other.signatures[0], found)) == [
        "a is required and cannot be told: no rule HIGH_Z whose signals this vehicle has",
        "b is required and cannot be told: this vehicle does not have every signal of Bee > 5 for 0.3 s",
    ]
