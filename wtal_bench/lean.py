"""Starting a command without the parts of mmengine that none of them can reach: a second of every start.

`mmengine.runner` also imports mmengine's second runner, its wrapper of fully sharded models and its ZeRO optimiser, and
with these three torch's FSDP, DTensor and sympy: 630 modules. A command runs on mmengine's `Runner`, wraps models in
`MMDistributedDataParallel` and takes optimisers from torch.optim; no config can name another. Programs that use this
package as a library are left alone.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn

LEFT_OUT = {
    "mmengine.runner._flexible_runner": "FlexibleRunner",
    "mmengine.model.wrappers.fully_sharded_distributed": "MMFullyShardedDataParallel",
    "mmengine.optim.optimizer.zero_optimizer": "ZeroRedundancyOptimizer",
}
"""Module of mmengine -> the one class that the package around it imports from there."""


def leave_out() -> None:
    """Let mmengine be imported without `LEFT_OUT`; nothing happens where it has been imported already.

    Whoever asks for one of these classes all the same is told so when he makes one.
    """
    if "mmengine" in sys.modules:
        return
    for module, name in LEFT_OUT.items():
        stand_in = ModuleType(module, f"Stands for a module of mmengine that {__name__} leaves out.")
        setattr(stand_in, name, type(name, (), {"__init__": _refuse, "__module__": module}))
        sys.modules[module] = stand_in


def _refuse(self: Any, *args: Any, **options: Any) -> NoReturn:
    raise RuntimeError(
        f"{type(self).__name__} of mmengine is left out of the commands of wtal-bench ({__name__}). Use it from a "
        "program of your own that imports mmengine before wtal_bench.cli."
    )
