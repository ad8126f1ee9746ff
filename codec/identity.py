"""Who sends: a VIN (ISO 3779) for road vehicles, `asset:<name>` for everything else."""

from __future__ import annotations

import re

VIN_CHARACTERS = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"  # without I, O and Q
_ASSET = re.compile(r"asset:[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))  # 49 CFR 565.15
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def check_vehicle(text: str) -> str:
    """The identity in its one spelling. Raises ValueError, saying what is wrong with it.

    The check digit of a VIN is not required: most of the world does not use it.
    """
    if text.startswith("asset:"):
        if not _ASSET.fullmatch(text):
            raise ValueError(f"{text!r}: an asset's name has 1 to 64 letters, digits, '.', '_' or '-'")
        return text
    vin = text.strip().upper()
    wrong = sorted(set(vin) - set(VIN_CHARACTERS))
    if len(vin) != 17 or wrong:
        why = f"has {len(vin)} characters" if len(vin) != 17 else f"contains {' '.join(wrong)}"
        raise ValueError(
            f"{text!r} is no VIN ({why}): a VIN has 17 digits and capital letters without I, O and Q; "
            "what is no road vehicle is named asset:<name>"
        )
    return vin


def check_digit(vin: str) -> str:
    """Ninth character that a North American VIN has to have. Source: 49 CFR 565.15(c)."""
    total = sum(
        weight * int(_VALUES.get(character, character))
        for weight, character in zip(_WEIGHTS, vin.upper(), strict=True)
    )
    return "X" if total % 11 == 10 else str(total % 11)


def vin_with_check_digit(first_eight: str, last_eight: str) -> str:
    """A whole VIN from its other sixteen characters."""
    vin = check_vehicle(f"{first_eight}0{last_eight}")
    return vin[:8] + check_digit(vin) + vin[9:]
