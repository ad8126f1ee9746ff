"""Whatever becomes of a flood on this machine is counted: read, or lost."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.flood_bus import BUSES, FRAMES_PER_S


def test_every_frame_of_a_flood_is_read_or_counted_as_lost(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.flood",
        "--seconds",
        "2",
        "--json",
        str(tmp_path / "flood.json"),
    ]
    subprocess.run(command, check=False, capture_output=True)
    found = json.loads((tmp_path / "flood.json").read_text())
    assert found["frames_offered"] > BUSES * FRAMES_PER_S // 2
    assert found["frames_read"] + found["frames_lost"] <= found["frames_offered"]
    assert (
        found["frames_offered"] - found["frames_read"] - found["frames_lost"] < 100
    )  # on their way at the end
    assert found["records"] > 0
