from codec.schema import Schema, Signal
from collector.detectors.detection import Detectors
from collector.ingest.analyses import Analyses
from collector.ingest.readings import Readings
from collector.rules import load_rules

RULES = load_rules("""
[tags]
test = ["asset:test*"]

[[rule]]
code = "HOT"
severity = "WARNING"
description = "hot"
when = "Temp > 50"

[[rule.override]]
model = "T"
when = "Temp > 60"

[[rule.override]]
tag = "test"
enabled = false
""")
SCHEMA = Schema(50, (Signal("Temp"),)).to_bytes()


def test_vehicles_of_a_model_and_of_the_same_tags_share_what_is_made_of_rules_and_schemas():
    readings = Readings(RULES, Analyses(), Detectors())
    one, other = (readings.own_rules(vehicle, "T") for vehicle in ("asset:a", "asset:b"))
    assert one is other
    assert readings.of(one, SCHEMA) is readings.of(other, bytes(bytearray(SCHEMA)))


def test_models_and_tags_have_their_own():
    readings = Readings(RULES, Analyses(), Detectors())
    plain, model, test = (
        readings.own_rules(*of) for of in (("asset:a", ""), ("asset:a", "T"), ("asset:test1", "T"))
    )
    assert plain.by_code["HOT"].when == "Temp > 50"
    assert model.by_code["HOT"].when == "Temp > 60"
    assert not test.by_code
    bound = [readings.of(own, SCHEMA).bound for own in (plain, model, test)]
    assert [len(one.rules) for one in bound] == [1, 1, 0]
    assert bound[0] is not bound[1]
