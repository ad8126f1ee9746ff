from __future__ import annotations

import numpy as np
import pytest

from codec.records import Records
from codec.schema import Kind, Schema, Signal
from collector.battery import Roles, RolesError, bind, load_roles


def names(battery) -> dict[str, str]:
    return {role: measure.name for role, measure in battery.measures.items()}


def test_our_car_needs_no_guess():
    schema = Schema(
        50,
        (
            Signal("PackVoltage", unit="V", factor=0.1),
            Signal("PackCurrent", unit="A", factor=0.1),
            Signal("SOC", unit="%", factor=0.1),
            Signal("CellImbalance", unit="mV"),
        ),
    )
    battery = bind(Roles(), schema)
    assert names(battery)["voltage"] == "PackVoltage"
    assert battery.guessed == frozenset()
    assert battery.electrical
    assert battery.measures["imbalance"].factor == pytest.approx(1e-3)  # V


def test_others_are_guessed_by_unit_and_name_and_say_so():
    schema = Schema(
        10,
        (
            Signal("HV_Batt_Voltage", unit="V", factor=0.5),
            Signal("HV_Batt_VoltageMax", unit="V", factor=0.5),
            Signal("HV_Batt_Current", unit="A"),
            Signal("LV_Battery_Volt", unit="mV"),
            Signal("BMS_Soc_Display", unit="%"),
        ),
    )
    battery = bind(Roles(), schema)
    assert names(battery) == {
        "voltage": "HV_Batt_Voltage",
        "current": "HV_Batt_Current",
        "soc": "BMS_Soc_Display",
    }
    assert battery.described()["voltage"] == "HV_Batt_Voltage (guessed)"


def test_two_that_fit_are_none_until_the_mapping_says_which(tmp_path):
    schema = Schema(10, (Signal("Pack1Voltage", unit="V"), Signal("Pack2Voltage", unit="V")))
    assert not bind(Roles(), schema).measures
    path = tmp_path / "roles.toml"
    path.write_text('voltage = "Pack2Voltage"\n')
    assert names(bind(load_roles(path), schema)) == {"voltage": "Pack2Voltage"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('voltagee = "X"', "unknown key 'voltagee'; did you mean voltage?"),
        ("voltage = 3", "voltage: must be a text in quotes, not 3"),
        ("voltage =", "not TOML"),
    ],
)
def test_a_mapping_that_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "roles.toml"
    path.write_text(text)
    with pytest.raises(RolesError, match=f"{path}: .*{message}"):
        load_roles(path)


def test_current_is_power_over_voltage_where_there_is_no_current():
    schema = Schema(
        10, (Signal("PackVoltage", unit="V"), Signal("PackPower", unit="kW", factor=0.1, threshold=1.0))
    )
    battery = bind(Roles(), schema)
    block = Records(0, np.array([[400, 1000], [0, 10]], np.int64), np.zeros((2, 2), np.uint8))
    voltage = battery.measures["voltage"].whole(block.counts[:, 0])
    current = battery.current_counts(block.counts[:, 1], voltage)
    assert (current * battery.current_factor).tolist() == [250.0, 0.0]
    assert battery.current_bound(100.0) == pytest.approx(5.0)  # 1 kW at 200 V


def test_floats_become_whole_steps():
    schema = Schema(10, (Signal("PackVoltage", unit="V", kind=Kind.FLOAT32, threshold=0.5),))
    measure = bind(Roles(), schema).measures["voltage"]
    bits = np.array([400.1234, np.nan, 1e30], np.float32).view(np.uint32).astype(np.int64)
    counts = measure.whole(bits)
    assert counts.tolist()[:2] == [400123, 0]
    assert measure.bound == 0.5


def test_a_factor_that_measures_no_pack_is_left_out():
    schema = Schema(
        10,
        (
            Signal("PackVoltage", unit="V", factor=1e306),
            Signal("PackCurrent", unit="A", factor=0.1, offset=1e300),
            Signal("SOC", unit="%", factor=0.1),
        ),
    )
    assert names(bind(Roles(), schema)) == {"soc": "SOC"}
