"""What BI tools are shown: views that stay as they are when tables change."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

VIEWS = {
    "signal_minutes": 'SELECT timestamp, vin, signal, "min", "max", mean, "count" FROM rollups',
    "fault_list": (
        "SELECT f.vin, v.model, v.firmware_version, f.code, f.severity, f.description, f.started_at, f.detected_at, "
        "f.ended_at, f.peak FROM faults f JOIN vehicles v ON v.vin = f.vin"
    ),
    "latest_rows": (
        "SELECT v.vin, v.model, v.state, t.timestamp, t.data FROM vehicles v JOIN telemetry_logs t ON t.id = "
        "(SELECT l.id FROM telemetry_logs l WHERE l.vin = v.vin ORDER BY l.timestamp DESC LIMIT 1)"
    ),
}


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
