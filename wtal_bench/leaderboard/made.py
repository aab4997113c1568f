"""What is made of a row's records alone, each piece once: by this process, or by an earlier one that kept it.

Pieces go by name. Of values, those are kept that this process asked for, so that comparisons with a row that no longer
stands there go by themselves; arrays are kept, since whoever needs one anew has to read all records of its row for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class Made:
    """The pieces of one row.

    Args:
        values: plain JSON values that an earlier process made, by name.
        arrays: arrays of float64 that it made.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        self._known_values, self._known_arrays = values or {}, arrays or {}
        self.values: dict[str, Any] = {}
        self.news = False
        """Whether a value was made here."""
        self.arrays: dict[str, np.ndarray] = {}

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """A plain JSON value: what is known by this name, else what `make` gives."""
        if name not in self.values:
            known = self._known_values.get(name)
            self.news |= known is None
            self.values[name] = make() if known is None else known
        return self.values[name]

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array of float64, likewise."""
        if name not in self.arrays:
            known = self._known_arrays.get(name)
            self.arrays[name] = make() if known is None else known
        return self.arrays[name]

    def kept_arrays(self) -> dict[str, np.ndarray]:
        """Those known and those made."""
        return {**self._known_arrays, **self.arrays}
