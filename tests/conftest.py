"""Hypothesis profiles (`dev` by default, HYPOTHESIS_PROFILE=ci or soak for more), and kernels for all that ask for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.compiled import Compiled

_SLOW_MACHINES = [HealthCheck.too_slow]

settings.register_profile("dev", deadline=None, max_examples=50, suppress_health_check=_SLOW_MACHINES)
settings.register_profile(
    "ci", deadline=None, max_examples=100, derandomize=True, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile("soak", deadline=None, max_examples=5000, suppress_health_check=_SLOW_MACHINES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

COMPILING_S = 600  # a minute and more of work, and the first test that asks for it waits


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "compiled" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(COMPILING_S))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The kernels of codec and decoder, compiled ahead of time for this very machine."""
    from tests.compiled import compile_all

    return compile_all(tmp_path_factory.mktemp("compiled"))
