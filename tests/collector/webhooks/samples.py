from __future__ import annotations

from collector.webhooks.notice import Notice
from collector.webhooks.targets import Target

NS = 10**9
NOW = 1_795_850_130 * NS  # a Saturday, 07:15:30 UTC
TARGET = Target("ops", "http://127.0.0.1/hook", group_s=0.0)


def notice(number: int, kind: str = "opened", page: str = "", **more: object) -> Notice:
    made = {
        "noted_ns": NOW, "vin": "5YJSA1E6XSF004523", "code": "BATTERY_OVERTEMP", "severity": "CRITICAL",
        "description": "Battery hotter than 45 degC", "action": "Stop.", "detected_at": "2026-11-28T07:15:30.000Z",
    }  # fmt: skip
    return Notice(number, kind, page=page or f"fault-{number}", **(made | more))
