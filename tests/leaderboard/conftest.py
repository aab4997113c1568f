"""A small world and an empty leaderboard for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaderboard.fabricate import SYNTHETIC, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Six annotated videos under a real protocol."""
    return World(tmp_path / "world")


@pytest.fixture
def synthetic(tmp_path: Path) -> World:
    """Six annotated videos under a synthetic protocol."""
    return World(tmp_path / "synthetic", SYNTHETIC)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """An empty leaderboard."""
    folder = tmp_path / "board"
    (folder / "records").mkdir(parents=True)
    return folder
