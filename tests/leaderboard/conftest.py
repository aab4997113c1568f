"""A small world and an empty leaderboard for every test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.leaderboard.fabricate import REAL, SYNTHETIC, World
from wtal_bench import protocols
from wtal_bench.protocols import PROTOCOLS, Split, get_protocol


@pytest.fixture(scope="session")
def small_protocol(tmp_path_factory) -> protocols.Protocol:
    """thumos14/v1 as if it were defined on the small world's videos."""
    world = World(tmp_path_factory.mktemp("small"))
    contents = world.protocol.contents(world.annotations)
    splits = {name: Split(len(world.annotations.videos), 18, "0" * 64, content) for name, content in contents.items()}
    return replace(get_protocol(REAL), splits=MappingProxyType(splits))


@pytest.fixture(autouse=True)
def small_data(small_protocol, tmp_path, monkeypatch):
    """Every command finds the small world's annotations by itself, and remembers nothing of other tests."""
    monkeypatch.setattr(protocols, "PROTOCOLS", MappingProxyType({**PROTOCOLS, REAL: small_protocol}))
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
