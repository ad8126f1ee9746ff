"""The simulation itself: it replays, it comes out clean where it should, and its planted bugs can still be planted."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.processes import simulated
from tests.simulation.world import new_store, simulate

SEEDS = range(2)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulation") / "template.db"
    new_store(path)
    return path


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_comes_out_clean(seed, tmp_path, template):
    outcome = simulate(seed, tmp_path / "world", template)
    assert not outcome.violation, "\n".join([*outcome.history, f"seed {seed}: {outcome.violation}"])


def test_a_seed_replays_exactly(tmp_path, template):
    one, other = (simulate(7, tmp_path / name, template) for name in ("one", "other"))
    assert one.history == other.history
    assert len(one.history) > 3


def test_seeds_side_by_side_come_out_as_alone(tmp_path, template):
    with simulated([3, 4], 2, "") as outcomes:
        histories = [outcome.history for outcome in outcomes]
    assert histories == [simulate(seed, tmp_path / "world", template).history for seed in (3, 4)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_a_program_still(mutant):
    compile(mutant.mutated(), str(mutant.path), "exec")


@pytest.mark.timeout(1800)  # on a machine that is busy with other things
def test_fresh_seeds_come_out_clean(fresh_seeds):
    status, said = fresh_seeds
    assert status == 0, f"{said}\nmake simulate SEEDS=1 FIRST=<seed> replays one"
