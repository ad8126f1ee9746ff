"""What an entry takes, read from its annotations: numbers, C-contiguous arrays, and named tuples of these.

The one place that knows them: the call into a compiled library and the compiler of that library both go by it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

# Arrays as entries take them: the type of an element, and how many dimensions if not one.
I64 = Annotated[NDArray[np.int64], 1]
I64x2 = Annotated[NDArray[np.int64], 2]
I32 = Annotated[NDArray[np.int32], 1]
I32x2 = Annotated[NDArray[np.int32], 2]
U64 = Annotated[NDArray[np.uint64], 1]
U64x2 = Annotated[NDArray[np.uint64], 2]
U32 = Annotated[NDArray[np.uint32], 1]
U16x3 = Annotated[NDArray[np.uint16], 3]
U8 = Annotated[NDArray[np.uint8], 1]
U8x2 = Annotated[NDArray[np.uint8], 2]
F64 = Annotated[NDArray[np.float64], 1]
F64x2 = Annotated[NDArray[np.float64], 2]


@dataclass(frozen=True, slots=True)
class Number:
    type: type[int | float]  # int, float or bool


@dataclass(frozen=True, slots=True)
class Array:
    dtype: np.dtype[Any]
    dimensions: int


@dataclass(frozen=True, slots=True)
class Fields:
    """A named tuple."""

    type: type[tuple[Any, ...]]
    parameters: dict[str, Parameter]


Parameter = Number | Array | Fields


def parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Parameters of an entry by name. Raises TypeError for an annotation that is missing or none of the above."""
    hints = get_type_hints(function, include_extras=True)
    where = f"{function.__module__}.{function.__qualname__}"
    return {
        name: _parameter(hints.get(name), f"{where}({name})")
        for name in inspect.signature(function).parameters
    }


def _parameter(hint: Any, where: str) -> Parameter:
    if hint in {int, float, bool}:
        return Number(hint)
    if get_origin(hint) is Annotated:
        array, dimensions = get_args(hint)
        return Array(np.dtype(get_args(get_args(array)[1])[0]), dimensions)
    if isinstance(hint, type) and issubclass(hint, tuple):
        fields = get_type_hints(hint, include_extras=True)
        return Fields(hint, {name: _parameter(field, f"{where}.{name}") for name, field in fields.items()})
    raise TypeError(
        f"{where}: an entry takes int, float, bool, the arrays of codec.signature or named tuples of them, not {hint}"
    )
