"""Speed schedules of the US Environmental Protection Agency, one speed a second.

schedules/udds.csv is the Urban Dynamometer Driving Schedule (the first 1,370 s of the FTP-75), schedules/hwfet.csv the
Highway Fuel Economy Test: published in 40 CFR part 86, appendix I, and part 600, appendix I.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load_schedule(name: str) -> NDArray[np.float64]:
    """Speeds float64[n] in m/s, one a second, of "udds" or "hwfet"."""
    with (files("replay_logs") / "schedules" / f"{name}.csv").open(encoding="ascii") as file:
        return np.array([float(row["speed_mps"]) for row in csv.DictReader(file)])
