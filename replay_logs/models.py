"""Vehicle models: what the longitudinal model needs to know of a car. Rounded public figures, not data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VehicleModel:
    """One car. Torque and speed are at the rotor, all motors together; resistance is the whole pack at 25 degC."""

    name: str
    title: str
    mass_kg: float  # with driver
    drag_area_m2: float  # Cd * A
    rolling_resistance: float
    wheel_radius_m: float
    gear_ratio: float
    torque_max_nm: float
    power_max_w: float
    regeneration_max_w: float
    wheelbase_m: float
    track_m: float
    steering_ratio: float
    cells_in_series: int
    capacity_ah: float
    resistance_ohm: float
    charge_power_max_w: float
    firmware_version: int  # year * 10000 + week * 100 + build

    @property
    def pack_kwh(self) -> float:
        return self.capacity_ah * self.cells_in_series * 3.65 / 1000


_ALL = (
    VehicleModel(
        name="model-3", title="Model 3", mass_kg=1950, drag_area_m2=0.51, rolling_resistance=0.0090,
        wheel_radius_m=0.334, gear_ratio=9.04, torque_max_nm=520, power_max_w=340e3, regeneration_max_w=75e3,
        wheelbase_m=2.875, track_m=1.58, steering_ratio=10.3, cells_in_series=96, capacity_ah=225,
        resistance_ohm=0.055, charge_power_max_w=250e3, firmware_version=20263803,
    ),
    VehicleModel(
        name="model-y", title="Model Y", mass_kg=2100, drag_area_m2=0.61, rolling_resistance=0.0095,
        wheel_radius_m=0.351, gear_ratio=9.04, torque_max_nm=540, power_max_w=350e3, regeneration_max_w=75e3,
        wheelbase_m=2.890, track_m=1.63, steering_ratio=10.3, cells_in_series=96, capacity_ah=225,
        resistance_ohm=0.055, charge_power_max_w=250e3, firmware_version=20263803,
    ),
    VehicleModel(
        name="model-s-plaid", title="Model S Plaid", mass_kg=2265, drag_area_m2=0.49, rolling_resistance=0.0095,
        wheel_radius_m=0.352, gear_ratio=7.56, torque_max_nm=1300, power_max_w=760e3, regeneration_max_w=90e3,
        wheelbase_m=2.960, track_m=1.69, steering_ratio=12.3, cells_in_series=110, capacity_ah=250,
        resistance_ohm=0.028, charge_power_max_w=250e3, firmware_version=20264001,
    ),
    VehicleModel(
        name="model-x", title="Model X", mass_kg=2455, drag_area_m2=0.66, rolling_resistance=0.0100,
        wheel_radius_m=0.370, gear_ratio=8.28, torque_max_nm=930, power_max_w=500e3, regeneration_max_w=85e3,
        wheelbase_m=2.965, track_m=1.70, steering_ratio=12.3, cells_in_series=110, capacity_ah=250,
        resistance_ohm=0.032, charge_power_max_w=250e3, firmware_version=20264001,
    ),
    VehicleModel(
        name="r1t", title="R1T", mass_kg=3250, drag_area_m2=1.00, rolling_resistance=0.0115,
        wheel_radius_m=0.405, gear_ratio=12.6, torque_max_nm=1120, power_max_w=560e3, regeneration_max_w=110e3,
        wheelbase_m=3.449, track_m=1.73, steering_ratio=14.0, cells_in_series=108, capacity_ah=340,
        resistance_ohm=0.028, charge_power_max_w=215e3, firmware_version=20263500,
    ),
)  # fmt: skip
MODELS = {model.name: model for model in _ALL}
