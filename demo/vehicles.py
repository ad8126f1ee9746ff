"""The five vehicles of the demo: who they are and what they drive."""

from __future__ import annotations

from pathlib import Path

import replay_logs
from codec.identity import vin_with_check_digit
from demo.settings import Drive
from replay_logs.models import MODELS
from replay_logs.scenarios import DRIVES

_LOGS = Path(replay_logs.__file__).parent
CAR_DBC = _LOGS / "car.dbc"
_VINS = {
    "model-3": vin_with_check_digit("5YJ3E1EA", "SF000317"),
    "model-y": vin_with_check_digit("7SAYGDEE", "SF002171"),
    "model-s-plaid": vin_with_check_digit("5YJSA1E6", "SF004523"),
    "model-x": vin_with_check_digit("7SAXCBE5", "SF006011"),
    "r1t": vin_with_check_digit("7FCTGAAL", "SN008842"),
}
_ORDER = ("city", "highway", "aggressive", "overheating", "charging")


def _release(number: int) -> str:
    """2026.38.3 of 20263803, as the vehicle's own signal counts them."""
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def fleet(wall_s: float) -> list[Drive]:
    """Every committed drive, played so that it takes `wall_s` seconds."""
    drives = []
    for name in _ORDER:
        scenario = DRIVES[name]
        model = MODELS[scenario.model]
        drives.append(
            Drive(
                vin=_VINS[model.name],
                model=model.title,
                firmware_version=_release(model.firmware_version),
                log=_LOGS / "drives" / f"{name}.log.gz",
                dbcs=(CAR_DBC,),
                speed=scenario.duration_s / wall_s,
                title=name,
            )
        )
    return drives
