"""Where the curves of a run go: mmengine's visualizer back-ends, chosen by config."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from mmengine.visualization import Visualizer, vis_backend

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import check_arguments
from wtal_bench.running.settings import RunConfig

BACKENDS = {
    "files": vis_backend.LocalVisBackend,
    "tensorboard": vis_backend.TensorboardVisBackend,
    "wandb": vis_backend.WandbVisBackend,
    "mlflow": vis_backend.MLflowVisBackend,
}
"""Name -> mmengine's back-end; all but the first need the package (and the extra) of that name."""


class LateVisualizer(Visualizer):
    """mmengine's, whose figure is made when somebody draws: matplotlib's takes a tenth of a run's start to load."""

    def __init__(self, name: str = "visualizer", **arguments: Any) -> None:
        super().__init__(name, **arguments)
        for name in FIGURE:
            delattr(self, name)

    def _initialize_fig(self, fig_cfg: Any) -> tuple:
        return None, SimpleNamespace(get_dpi=lambda: None), None

    def __getattr__(self, name: str) -> Any:
        if name not in FIGURE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.fig_save_canvas, self.fig_save, self.ax_save = super()._initialize_fig(self.fig_save_cfg)
        self.dpi = self.fig_save.get_dpi()
        return getattr(self, name)


FIGURE = ("fig_save_canvas", "fig_save", "ax_save", "dpi")
"""What mmengine makes of a figure."""

LateVisualizer._instance_dict = Visualizer._instance_dict  # where hooks of mmengine look for the one at work


def build_backends(config: RunConfig) -> list[dict[str, Any]]:
    """The back-ends of `runtime.visualizer`, as mmengine's Visualizer takes them.

    Raises:
        ConfigError: an unknown one, an argument it does not take, or a package that is not installed.
    """
    given = config.runtime.visualizer
    many = isinstance(given, (list, tuple))
    entries = given if many else [given]
    where = f"{config.path}: runtime.visualizer"
    if not entries:
        raise ConfigError(f"{where} is empty; the quietest is 'files'.")
    backends = [_backend(entry, f"{where}[{at}]" if many else where) for at, entry in enumerate(entries)]
    names = [backend["type"] for backend in backends]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise ConfigError(f"{where}[{at}] repeats the back-end of entry {names.index(name)}; name each once.")
    return backends


def _backend(entry: Any, where: str) -> dict[str, Any]:
    # a copy: mmengine writes the folder into what a back-end is given
    arguments = copy.deepcopy(dict(entry)) if isinstance(entry, Mapping) else {"type": entry}
    name = arguments.pop("type", None)
    if not isinstance(name, str) or name not in BACKENDS:
        raise ConfigError(f"{where}={name!r}.{did_you_mean(str(name), BACKENDS)} Options: {listing(BACKENDS)}.")
    check_arguments(BACKENDS[name], arguments, where, shown=name, hidden=("save_dir",))
    if name != "files":
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"{where}={name!r} needs a package: `pip install {name}` (the extra wtal-bench[{name}]). Importing it "
                f"says: {error}."
            ) from error
    for key, value in arguments.items():
        if name == "files" and not isinstance(value, str):
            raise ConfigError(f"{where}.{key}: expected str, the name of a file or folder; got {value!r}.")
    if name == "mlflow" and "tracking_uri" not in arguments:
        # mmengine then keeps the store in the run's folder, which newer releases write on request alone
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return {"type": BACKENDS[name].__name__, **arguments}
