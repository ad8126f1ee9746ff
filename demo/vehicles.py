"""The five vehicles of the demo: who they are and what they drive."""

from __future__ import annotations

from dataclasses import dataclass

from codec.identity import vin_with_check_digit


@dataclass(frozen=True, slots=True)
class Vehicle:
    """`drive` names one of the recorded drives in replay_logs/drives."""

    vin: str
    model: str
    firmware_version: str
    drive: str

    @property
    def name(self) -> str:
        """Folder and short name."""
        return self.vin[-6:]


FLEET = (
    Vehicle(vin_with_check_digit("5YJ3E1EA", "JF000317"), "Model 3", "2026.38.4", "city"),
    Vehicle(vin_with_check_digit("5YJYGDEE", "MF002171"), "Model Y", "2026.38.4", "highway"),
    Vehicle(vin_with_check_digit("5YJSA1E6", "NF004523"), "Model S Plaid", "2026.36.9", "aggressive"),
    Vehicle(vin_with_check_digit("5YJXCBE2", "GF006011"), "Model X", "2026.32.1", "charging"),
    Vehicle(vin_with_check_digit("1FTVW1EL", "NWG08842"), "F-150 Lightning", "4.2.7", "overheating"),
)
