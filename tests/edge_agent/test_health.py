from __future__ import annotations

from edge_agent.health import HealthProbe


def test_the_machine_is_asked(tmp_path):
    found = HealthProbe(str(tmp_path / "outbox.db")).ask()
    assert found.rss_bytes > 10_000_000
    assert found.disk_free_bytes > 0
    assert found.cpu_percent >= 0
    for name in ("damaged-0", "damaged-0-wal", "damaged-12", "lock"):
        (tmp_path / f"outbox.db.{name}").touch()
    assert (found.outboxes_set_aside, HealthProbe(str(tmp_path / "outbox.db")).ask().outboxes_set_aside) == (
        0,
        2,
    )
    assert HealthProbe(str(tmp_path / "gone" / "outbox.db")).ask().disk_free_bytes == 0
