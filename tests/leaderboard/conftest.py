"""A small world and an empty leaderboard for every test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.leaderboard.fabricate import REAL, SYNTHETIC, World
from wtal_bench import protocols
from wtal_bench.protocols import PROTOCOLS, Protocol, Split


def small(folder: Path) -> Protocol:
    """thumos14/v1 as if it were defined on the small world's videos."""
    world = World(folder)
    contents = world.protocol.contents(world.annotations)
    splits = {name: Split(len(world.annotations.videos), 18, "0" * 64, content) for name, content in contents.items()}
    return replace(PROTOCOLS[REAL], splits=MappingProxyType(splits))


def use(protocol: Protocol, patch: Callable = setattr) -> None:
    """Let it be the protocol of that name."""
    patch(protocols, "PROTOCOLS", MappingProxyType({**PROTOCOLS, REAL: protocol}))


@pytest.fixture(scope="session")
def small_protocol(tmp_path_factory) -> Protocol:
    """The protocol of the small world."""
    return small(tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True)
def small_data(small_protocol, tmp_path, monkeypatch):
    """Every command finds the small world's annotations by itself, and remembers nothing of other tests."""
    use(small_protocol, monkeypatch.setattr)
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    World(tmp_path / "data" / "thumos14")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Six annotated videos under a real protocol."""
    return World(tmp_path / "world")


@pytest.fixture
def synthetic(tmp_path: Path) -> World:
    """Ten annotated videos under a synthetic protocol."""
    return World(tmp_path / "synthetic", SYNTHETIC)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """An empty leaderboard."""
    folder = tmp_path / "board"
    (folder / "records").mkdir(parents=True)
    return folder
