"""What is looked for in records beside the rules, as the operator set it: signatures, and who plays which role in a battery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.battery import Roles, load_roles
from collector.config import SHIPPED_CATALOGUE, SHIPPED_ROLES
from collector.diagnosis import Catalogue, load_catalogue

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Analyses:
    catalogue: Catalogue = field(default_factory=Catalogue)
    roles: Roles = field(default_factory=Roles)


def load_analyses(catalogue: Path = SHIPPED_CATALOGUE, battery: Path = SHIPPED_ROLES) -> Analyses:
    """Raises CatalogueError, RolesError."""
    return Analyses(load_catalogue(catalogue), load_roles(battery))
