"""Battery health as series of its own: what the pack's voltage, current and charge say of it while it works. Needs no store."""

from collector.battery.portion import Portion, portion_of, portions
from collector.battery.roles import Roles, RolesError, bind, load_roles
from collector.battery.series import BatteryState, Estimate, advance

__all__ = [
    "BatteryState",
    "Estimate",
    "Portion",
    "Roles",
    "RolesError",
    "advance",
    "bind",
    "load_roles",
    "portion_of",
    "portions",
]
