"""A plugin's protocol whose fields the fuzz mutates."""

from __future__ import annotations

import dataclasses
import random

from tests.fuzz.corpus import PROTOCOL as TINY
from tests.fuzz.mutators import nasty
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.protocols import get_protocol

NAME = "fuzz/v1"
SOUND = dataclasses.replace(get_protocol(TINY), name=NAME, profile=None, world=None, generator=None)
INFO = ComponentInfo("protocol", NAME, "tests.fuzz.stranger:PROTOCOL", "fuzz", "1")
PROTOCOL = SOUND


def mutate(rng: random.Random) -> None:
    """Give the protocol one or two other fields."""
    global PROTOCOL
    fields = [field.name for field in dataclasses.fields(SOUND) if field.name != "name"]
    changes = {rng.choice(fields): nasty(rng) for _ in range(rng.choice((1, 1, 2)))}
    PROTOCOL = dataclasses.replace(SOUND, **changes)
