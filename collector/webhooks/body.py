"""What a delivery says: pure. In our own words, or in those that Alertmanager tells its receivers (its webhook, version 4).

A delivery is named by its webhook and its notices, so that a receiver that got it twice can tell. It is signed, if the
webhook has a secret:

    Deadreckon-Delivery: ops-1041-1043
    Deadreckon-Signature: t=1795850130,v1=<HMAC-SHA256 of "1795850130." and the body, in hex>
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, assert_never

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.webhooks.notice import Notice
    from collector.webhooks.targets import Target

VERSION = 1
NEVER_ENDED = "0001-01-01T00:00:00Z"  # Alertmanager's word for an alert that fires still


def delivery_name(target: Target, notices: Sequence[Notice]) -> str:
    """The same for a delivery that is told again. In a store that was restored from a backup numbers come again, and times do not."""
    return f"{target.name}-{notices[0].id}-{notices[-1].id}-{notices[-1].noted_ns // 1_000_000:x}"


def body_of(target: Target, notices: Sequence[Notice]) -> bytes:
    """JSON in UTF-8. `notices`: at least one."""
    document = _alertmanager(target, notices) if target.format == "alertmanager" else _ours(target, notices)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def headers_of(target: Target, name: str, body: bytes, now_s: int) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "Deadreckon", "Deadreckon-Delivery": name}
    if target.secret:
        signature = hmac.new(target.secret, f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
        headers["Deadreckon-Signature"] = f"t={now_s},v1={signature}"
    return headers


def _ours(target: Target, notices: Sequence[Notice]) -> dict[str, Any]:
    told = [
        {k: v for k, v in asdict(notice).items() if k != "noted_ns"} | {"peak": _finite(notice.peak)}
        for notice in notices
    ]
    return {
        "version": VERSION,
        "webhook": target.name,
        "delivery": delivery_name(target, notices),
        "notices": told,
    }


def _finite(number: float | None) -> float | None:
    """JSON has no other numbers."""
    return number if number is not None and math.isfinite(number) else None


def _alertmanager(target: Target, notices: Sequence[Notice]) -> dict[str, Any]:
    alerts = [_alert(notice) for notice in notices]
    firing = any(alert["status"] == "firing" for alert in alerts)
    return {
        "version": "4",
        "groupKey": f"{{}}:{{webhook={json.dumps(target.name)}}}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": target.name,
        "groupLabels": {},
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": "",
        "alerts": alerts,
    }


def _alert(notice: Notice) -> dict[str, Any]:
    labels = {"alertname": notice.code, "severity": notice.severity.lower(), "vehicle": notice.vin}
    annotations = {"summary": notice.description}
    if notice.action:
        annotations["action"] = notice.action
    if notice.fault is not None:
        annotations["fault"] = str(notice.fault)
    if notice.peak is not None:
        annotations["peak"] = f"{notice.peak:g}"
    match notice.kind:
        case "opened" | "confirmed":
            status = "firing"
        case "closed" | "withdrawn" | "digest":
            status = "resolved"
        case _:
            assert_never(notice.kind)
    if notice.provisional:
        annotations["provisional"] = "true"
    return {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": notice.detected_at,
        "endsAt": NEVER_ENDED if status == "firing" else notice.ended_at or notice.detected_at,
        "generatorURL": "",
        "fingerprint": hashlib.sha256(notice.page.encode()).hexdigest()[:16],
    }


def _common(all_of_them: Sequence[dict[str, str]]) -> dict[str, str]:
    first, *others = all_of_them
    return {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}
