"""The backlog's benchmark in small: what it stores offline is what it says."""

from __future__ import annotations

from benchmarks import backlog
from demo.settings import toml
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config
from edge_agent.outbox_reader import OutboxReader


def test_an_outbox_of_a_few_minutes_has_every_record_in_blocks_of_half_a_minute(tmp_path):
    settings = tmp_path / "agent.toml"
    settings.write_text(toml({"vehicle": {"id": "asset:one"}} | backlog.document()))
    plan, _ = make_plan(load_config(str(settings), {}))
    records, blocks = backlog.store_offline(tmp_path / "outbox.db", plan, 0.05)
    assert (records, blocks) == (9000, 6)
    with OutboxReader(str(tmp_path / "outbox.db")) as reader:
        rows = reader.fetch(0, bytes_max=1 << 20).rows
    assert [row.record_count for row in rows] == [1500] * 6
    assert all(row.group_seq == row.seq for row in rows)
