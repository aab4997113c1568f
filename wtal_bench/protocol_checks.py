"""What the rest of the harness takes for granted of a protocol that a stranger's plugin brings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from wtal_bench.errors import ConfigError, PluginError
from wtal_bench.files import unplain
from wtal_bench.options import check_type, within


def check_fields(protocol: Any, origin: str) -> None:
    """Refuse a `Protocol` whose fields are not of the kinds it declares, or make no sense together.

    Raises:
        PluginError: the text begins with `origin` and names the field.
    """
    hints = get_type_hints(type(protocol))
    try:
        for item in fields(protocol):
            check_type(getattr(protocol, item.name), hints[item.name], f"{origin}: {item.name}")
        within(f"{origin}: tious", protocol.tious, "(0, 1)")
        texts = {"subset": protocol.subset, "train_subset": protocol.train_subset, "classes": protocol.classes}
        problem = unplain({**texts, "averages": dict(protocol.averages)})
    except ConfigError as error:
        raise PluginError(str(error)) from error
    if problem or not protocol.tious or not protocol.subset or not protocol.train_subset:
        raise PluginError(f"{origin}: {problem or 'tious, subset and train_subset cannot be empty'}.")
    if len(set(protocol.tious)) != len(protocol.tious):
        raise PluginError(f"{origin}: tious holds a threshold twice.")
