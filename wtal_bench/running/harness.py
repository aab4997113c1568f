"""mmengine's Runner with the few of its habits changed that this harness cannot live with."""

from __future__ import annotations

import logging
import pprint
import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from wtal_bench.errors import CheckpointError, WtalError
from wtal_bench.modeling.model import Model
from wtal_bench.running.checkpoint import load_gradients, load_optimizer, load_weights, read_checkpoint

# mmengine, torch.jit and their friends speak of things no user of this harness can change
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(mmengine|torch|addict|yapf)\b.*")
warnings.filterwarnings("ignore", category=FutureWarning, module=r"mmengine\b.*")


class PlainConfig(Config):
    """mmengine's Config, printed as plain data: mmengine formats it as source code, slowly, five times a run."""

    @property
    def pretty_text(self) -> str:
        """The config as Python assignments."""
        return "".join(f"{key} = {pprint.pformat(value, sort_dicts=False)}\n" for key, value in self.to_dict().items())


class HarnessRunner(Runner):
    """mmengine's Runner with three of its habits changed.

    It resumes from our plain checkpoints, it puts the model where the config says, and it keeps its banner in the log
    file. Everything else is mmengine's.
    """

    def __init__(self, *, device: torch.device, checkpoint: Path | None, **arguments: Any) -> None:
        self.device, self.checkpoint = device, checkpoint
        super().__init__(**arguments)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The log file gets everything, the console only warnings."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler).__name__ == "StreamHandler":
                handler.setLevel("ERROR")
        for name in ("wtal_bench", "wtal_plugins"):  # what components have to say belongs to the run's log too
            logging.getLogger(name).setLevel(logging.INFO)
            logging.getLogger(name).handlers = list(logger.handlers)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Put the model on its device; with several processes, average gradients over them."""
        model = model.to(self.device)
        if not self.distributed:
            return model
        return MMDistributedDataParallel(module=model, broadcast_buffers=False, find_unused_parameters=True)

    def load_or_resume(self) -> None:
        """Continue from `checkpoint`, if there is one: weights, optimiser, position."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if self.checkpoint is None:
            return
        state = read_checkpoint(self.checkpoint)
        if not {"state_dict", "optimizer", "meta"} <= state.keys() or not {"epoch", "iter"} <= state["meta"].keys():
            raise CheckpointError(f"{self.checkpoint} holds weights alone and cannot be resumed; use train.init_from.")
        self._resume = True
        try:
            self.call_hook("after_load_checkpoint", checkpoint=state)
        except WtalError:
            raise
        except Exception as error:  # hooks, ours and strangers', keep in it what they like
            raise CheckpointError(f"{self.checkpoint} cannot be resumed: {type(error).__name__}: {error}.") from error
        load_weights(unwrapped(self.model), state["state_dict"], self.checkpoint)
        load_optimizer(self.optim_wrapper, state["optimizer"], self.checkpoint)
        load_gradients(unwrapped(self.model), state.get("gradients", {}), self.checkpoint)
        meta = state["meta"]
        self.train_loop.start_from(meta["epoch"], meta["iter"], stopped=meta.get("stopped", False))


def unwrapped(model: nn.Module) -> Model:
    """The model itself, inside any data-parallel wrapper."""
    return getattr(model, "module", model)
