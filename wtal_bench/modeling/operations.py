"""Counting what a piece of work asks of the device: operations, and waits for a value.

On a GPU an operation is (about) a kernel to launch, and a wait lets the GPU idle. Both are decided by the program and
can be counted on a CPU.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

READS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"}
"""Operations that need a value, or the size of a result, from the device."""
CHECKED = {"_linalg_check_errors", "linalg_solve", "_linalg_solve_ex", "linalg_inv_ex", "linalg_cholesky_ex"}
INDEXING = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}
TO_HOST = (Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__)


class Operations(TorchDispatchMode):
    """A context that counts the operations in it, forward and backward, and the waits among them.

    A wait is `item()`, `bool()`, `tolist()`, `numpy()`, `cpu()`, `nonzero`, indexing with a bool mask,
    `masked_select`, `unique`, `repeat_interleave` without its size, a solver that checks its result, or a copy between
    devices that blocks.

    Attributes:
        count: operations.
        by_name: operation -> how often.
        waits: what waited and where -> how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._to_host = _ToHost(self._waited)

    @property
    def count(self) -> int:
        """How many operations."""
        return self.by_name.total()

    def __enter__(self) -> Operations:
        self._to_host.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._to_host.__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Count one operation."""
        kwargs = kwargs or {}
        name = function._schema.name.partition("::")[2]
        self.by_name[name] += 1
        if _waits(name, args, kwargs):
            self._waited(name)
        return function(*args, **kwargs)

    def _waited(self, what: str) -> None:
        places = [f for f in traceback.extract_stack() if "torch" not in f.filename and f.filename != __file__]
        where = f"{places[-1].filename}:{places[-1].lineno}" if places else "?"
        self.waits[f"{what} at {where}"] += 1


class _ToHost(TorchFunctionMode):
    """Sees what reads memory behind the dispatcher's back."""

    def __init__(self, found: Callable[[str], None]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if function in TO_HOST:
            self.found(function.__name__)
        return function(*args, **(kwargs or {}))


def _waits(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    if name in READS:
        return True
    if name in INDEXING:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in CHECKED:
        return bool(kwargs.get("check_errors", name == "_linalg_check_errors"))
    if name in ("_to_copy", "copy_"):
        given = args[1] if name == "copy_" else args[0]
        to = args[0].device if name == "copy_" else kwargs.get("device") or given.device
        blocking = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
        return torch.device(to).type != given.device.type and blocking
    return False
