"""Diagnosis: faults and conditions that together point to a cause. Needs no store."""

from collector.diagnosis.catalogue import (
    DEFAULT_CATALOGUE,
    Catalogue,
    CatalogueError,
    Signature,
    is_condition,
    load_catalogue,
)
from collector.diagnosis.diagnose import Cleared, Diagnosis, DiagnosisState, Seen, Stretch, advance, withdraw

__all__ = [
    "DEFAULT_CATALOGUE",
    "Catalogue",
    "CatalogueError",
    "Cleared",
    "Diagnosis",
    "DiagnosisState",
    "Seen",
    "Signature",
    "Stretch",
    "advance",
    "is_condition",
    "load_catalogue",
    "withdraw",
]
