"""Heat: four battery modules and their coolant loop with a chiller; motor, inverter and theirs with a radiator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay_logs.models import VehicleModel

MODULES = 4
_PACK_J_PER_K_KWH = 5000.0  # cells and their share of the tray
_MODULE_W_PER_K = 100.0
_PACK_LOOP_J_PER_K = 16e3
_CHILLER_W_MAX = 11e3
_CHILLER_W_PER_K = 6e3
_MODULE_SHARE = (0.250, 0.247, 0.256, 0.247)  # of the heat: modules differ a little
_FAILING = 2  # index of the module that can fail
_FAILING_W_MAX = 5200.0
_DRIVE_LOOP_J_PER_K = 38e3


@dataclass(slots=True)
class Heat:
    """Temperatures in degC. `failing_w` is what a module with a soft short makes of itself at 45 degC."""

    model: VehicleModel
    modules: list[float]
    inlet: float
    motor: float
    inverter: float
    coolant: float
    ambient: float
    failing_w: float = 0.0
    chiller_target: float = 36.0
    chiller_w: float = 0.0

    def step(
        self,
        *,
        pack_w: float,
        motor_w: float,
        inverter_w: float,
        speed_mps: float,
        chiller: bool,
        pump: float,
        dt_s: float,
    ) -> None:
        """One step of dt_s with the losses as heat; `pump` is the share of the drive loop's flow that is left."""
        self._step_pack(pack_w, chiller=chiller, dt_s=dt_s)
        self._step_drive(motor_w, inverter_w, speed_mps, pump, dt_s)

    def _step_pack(self, pack_w: float, *, chiller: bool, dt_s: float) -> None:
        capacity = _PACK_J_PER_K_KWH * self.model.pack_kwh / MODULES
        # A tripped compressor takes the pump with it: hardly any exchange is left.
        exchange = _MODULE_W_PER_K if chiller else 6.0
        wanted = (max(self.modules) - self.chiller_target) * _CHILLER_W_PER_K
        cold = min(max((self.inlet - 18.0) / 6.0, 0.0), 1.0)  # colder coolant would hurt the cells
        self.chiller_w = min(max(wanted, 0.0), _CHILLER_W_MAX) * cold if chiller else 0.0
        to_loop = 0.0
        for index in range(MODULES):
            heat = pack_w * _MODULE_SHARE[index]
            if index == _FAILING and self.failing_w:
                heat += min(self.failing_w * math.exp((self.modules[index] - 45.0) / 4.0), _FAILING_W_MAX)
            flow = exchange * (self.modules[index] - self.inlet)
            to_loop += flow
            self.modules[index] += (heat - flow) * dt_s / capacity
        to_air = 25.0 * (self.inlet - self.ambient)
        self.inlet += (to_loop - to_air - self.chiller_w) * dt_s / _PACK_LOOP_J_PER_K

    def _step_drive(
        self, motor_w: float, inverter_w: float, speed_mps: float, pump: float, dt_s: float
    ) -> None:
        size = self.model.power_max_w / 350e3  # more powerful cars have more metal and more motors
        motor_flow = 110.0 * size * pump * (self.motor - self.coolant)
        inverter_flow = 260.0 * size * pump * (self.inverter - self.coolant)
        opening = min(max((self.coolant - 50.0) / 10.0, 0.0), 1.0)  # a thermostat keeps the loop warm
        to_air = (15.0 + opening * (240.0 + 14.0 * speed_mps)) * size * (self.coolant - self.ambient)
        self.motor += (motor_w - motor_flow) * dt_s / (4.4e3 * size)
        self.inverter += (inverter_w - inverter_flow) * dt_s / (6e3 * size)
        self.coolant += (motor_flow + inverter_flow - to_air) * dt_s / (_DRIVE_LOOP_J_PER_K * size)
