"""Which drives are measured: ours, the reference drives, and the recordings of the data folder that are there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sampled import DRIVES, OUR_DRIVES

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DEADRECKON_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True, slots=True)
class Car:
    """Logs of one car, decoded with the same DBCs: a prior for one of its drives can be trained on the others."""

    name: str
    logs: tuple[Path, ...]
    dbcs: tuple[Path, ...]
    thresholds: Mapping[str, float] | None = None

    @property
    def here(self) -> bool:
        return all(path.exists() for path in (*self.logs, *self.dbcs))


def our_car() -> Car:
    logs = tuple(DRIVES / "drives" / f"{name}.log.gz" for name in OUR_DRIVES)
    return Car("ours", logs, (DRIVES / "car.dbc",))


def recorded_cars() -> list[Car]:
    """The reference drives and every real recording, as far as they are in the data folder."""
    cars = [_car(*entry) for entry in _RECORDED]
    return [car for car in cars if car.here]


def missing_note() -> str | None:
    """What to say where the data folder lacks recordings; None if it has all."""
    missing = [entry[0] for entry in _RECORDED if not _car(*entry).here]
    if not missing:
        return None
    return f"not in {DATA}: {', '.join(missing)}; measured without (set DEADRECKON_DATA to the folder with the recordings)"


def read_thresholds(path: Path) -> dict[str, float]:
    """{signal: threshold}. Raises ValueError with one line."""
    try:
        document = json.loads(path.read_text())
        return {str(name): float(value) for name, value in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a file of thresholds ({error}); wanted is a JSON object, signal to number"
        ) from None


_RECORDED: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("reference-drives", ("city.log.gz", "highway.log.gz"), ("reference.dbc",)),
    ("mustang", ("mustang_s550_candump.log.gz",), ("ford_lincoln_base_pt.dbc",)),
    (
        "tesla",
        ("model3_drive_candump.log.gz",),
        ("can1-zim.dbc", "onyx_tesla_model3.dbc", "joshwardell_Model3CAN.dbc"),
    ),
    (
        "canedge",
        tuple(
            f"{name}.MF4"
            for name in (
                "00000001-60FE3F04",
                "00000002-60FE415D",
                "00000003-60FE43B2",
                "00000004-60FEB585",
                "00000005-60FEB5A8",
            )
        ),
        ("canmod-gps.dbc", "CSS-Electronics-OBD2-v1.4.dbc"),
    ),
    (
        "uwfe",
        (
            "toronto2024_raw_LOGS227_candump.log.gz",
            "Sept21Testing_raw_leftWSB_LOGS20_candump.log.gz",
            "2025_Michigan_Dynamic_LOGS14_LOGS0_candump.log.gz",
            "April30_2025_Zach_autocross_LOGS0_LOGS2.TXT.gz",
        ),
        ("2024CAR.dbc",),
    ),
    ("leaf", ("EV-CANeplus2_candump.log.gz", "EV-CANepluseco_candump.log.gz"), ("EV-can_ZE1.dbc",)),
    ("leaf", ("ZE0w24kWhstock_candump.log.gz",), ("EV-can_ZE0.dbc",)),
    ("truck", ("truck-plus-internal-gnss_00000001.MF4",), ("CSS-Electronics-SAE-J1939-DEMO.dbc",)),
    ("quirky", ("off_idle_drive_off_charge_end_charge_contactors_off.log.gz",), ("hyundai_kona.dbc",)),
)


def _car(folder: str, logs: tuple[str, ...], dbcs: tuple[str, ...]) -> Car:
    place = DATA / folder
    thresholds = place / "thresholds.json"
    return Car(
        folder,
        tuple(place / log for log in logs),
        tuple(place / name for name in dbcs),
        read_thresholds(thresholds) if thresholds.exists() else None,
    )
