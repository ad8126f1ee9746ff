"""Detectors: what is unusual in a vehicle's records, by statistics, as episodes. What each does: docs/detectors.md."""
