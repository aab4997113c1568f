"""What somebody's program asks for when it is imported and a training step of it never uses."""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import torch


@contextlib.contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Modules with these names that take everything and do nothing, and no GPU as the home of all new tensors."""
    kept = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: mock.MagicMock() for name in names})
    try:
        with mock.patch.object(torch, "set_default_tensor_type"):
            yield
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def defaults(options: ModuleType) -> Namespace:
    """The defaults of a program whose `parse_args` would empty its log folder on the way."""
    with mock.patch.object(options, "init_args", lambda args: args), mock.patch.object(sys, "argv", ["main.py"]):
        return options.parse_args()
