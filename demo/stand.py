"""Several agents in one process: `python -m demo.stand agent.toml...`.

A test stand has a computer for many units, and a hundred processes would be a test of the machine. Each agent is whole: its own bus,
capture thread, outbox, uplink and connection.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import structlog

from edge_agent.app import Agent
from edge_agent.choices import make_plan
from edge_agent.config_file import load_config
from edge_agent.errors import AgentError
from edge_agent.logs import set_up_logs

if TYPE_CHECKING:
    from collections.abc import Sequence


async def run_all(paths: Sequence[str]) -> int:
    """Until every log has ended and its blocks are acknowledged. 0: all ended well."""
    agents = []
    for path in paths:
        config = load_config(path, {})
        plan, _ = make_plan(config)
        agents.append((path, Agent(config, plan)))
    statuses = await asyncio.gather(*(_run(path, agent) for path, agent in agents))
    return max(statuses)


async def _run(path: str, agent: Agent) -> int:
    try:
        return await agent.run()
    except AgentError as error:
        structlog.get_logger().error("an agent failed", config=path, trouble=str(error))
        return 1


if __name__ == "__main__":
    set_up_logs(os.environ, verbose=False)
    sys.exit(asyncio.run(run_all(sys.argv[1:])))
