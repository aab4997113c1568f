"""The authors' own training steps, called where they lie: in checkouts the user brings. Nothing of theirs is kept here.

A module of this folder is one method. It has

- `RECIPE`: our recipe of their setting ("fac_net_thumos");
- `CHECKOUT`: where they published it ("LeonHLJ/FAC-Net");
- `FILES`: files by which a checkout of it is known, relative to its folder;
- `MARK`, where other programs have files of those names: one of them, and a text that only this program has in it;
- `step(checkout, model, batch)`: their network and the function from `batch` to the total loss of their training loop,
  with its loops over videos, pairs and classes, as a `Step`.

What is compared (`peer_steps.py`): loss and every gradient in float64, then the time of forward, losses, backward and
optimiser in float32, and how many operations they are. Dropout is off on both sides.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """One training step of theirs.

    Attributes:
        network: theirs; it gets our weights.
        loss: the total loss of the whole mini-batch, made anew at every call.
        names: our parameter's name -> theirs; all that their loss reaches.
    """

    network: nn.Module
    loss: Callable[[], Tensor]
    names: Mapping[str, str]


class Checkout:
    """A folder with somebody's program, whose modules have names like everybody else's (`model`, `utils`).

    What is imported of it is seen by its other modules and by nobody else.

    Args:
        folder: of the checkout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        """Import a module by its name from the checkout's folder ("model.main_branch").

        Raises:
            Exception: whatever importing it raises.
        """
        with self._importing(self.folder):
            return importlib.import_module(name)

    def file(self, path: Path) -> ModuleType:
        """Run one file of a package without its `__init__.py`, which often imports far more than there is.

        Args:
            path: of the file; its neighbours are found as `.name` and `name`, and its folder as a package.

        Raises:
            Exception: whatever running it raises.
        """
        package = ModuleType("peer")
        package.__path__ = [str(path.parent)]
        spec = importlib.util.spec_from_file_location(f"peer.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        with self._importing(path.parent, path.parent.parent):
            sys.modules["peer"] = package
            spec.loader.exec_module(module)
        return module

    @contextlib.contextmanager
    def _importing(self, *folders: Path) -> Iterator[None]:
        before, paths = set(sys.modules) - set(self._own), list(sys.path)
        sys.path[:0] = map(str, folders)
        sys.modules.update(self._own)
        try:
            yield
        finally:
            sys.path[:] = paths
            for key in set(sys.modules) - before:
                if self._is_own(sys.modules[key]):
                    self._own[key] = sys.modules.pop(key)

    def _is_own(self, module: ModuleType) -> bool:
        places = [getattr(module, "__file__", None) or "", *(getattr(module, "__path__", None) or ())]
        return any(place and Path(place).resolve().is_relative_to(self.folder.resolve()) for place in places)


def methods() -> Iterator[ModuleType]:
    """The modules of this folder."""
    for found in pkgutil.iter_modules(__path__):
        yield importlib.import_module(f"{__name__}.{found.name}")


def checkouts(folder: Path, files: tuple[str, ...], mark: tuple[str, str] | None = None) -> Iterator[Checkout]:
    """The folders anywhere under `folder` that have all the files, and the mark, a text, in one of them."""
    first, *others = files
    for path in sorted(folder.rglob(Path(first).name)):
        root = path.parents[len(Path(first).parts) - 1]
        if path != root / first or not all((root / other).is_file() for other in others):
            continue
        if mark is None or mark[1] in (root / mark[0]).read_text(encoding="utf-8", errors="replace"):
            yield Checkout(root)


@contextlib.contextmanager
def as_they_expect() -> Iterator[None]:
    """Their programs ask for a GPU by `.cuda()` and for names that numpy has dropped; here everything is on the CPU."""

    def stay(self: Tensor | nn.Module, *_: object, **__: object) -> Tensor | nn.Module:
        return self

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(Tensor, "cuda", stay))
        stack.enter_context(mock.patch.object(nn.Module, "cuda", stay))
        stack.enter_context(mock.patch.object(torch.cuda, "FloatTensor", torch.FloatTensor))
        for name, kind in (("float", float), ("int", int), ("bool", bool)):
            if name not in vars(np):
                stack.enter_context(mock.patch.object(np, name, kind, create=True))
        yield
