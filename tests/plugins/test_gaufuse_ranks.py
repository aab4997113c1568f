"""GauFuse's labels over several training processes."""

from __future__ import annotations

import torch

from tests.plugins.gaufuse_passes import a_model, flat, one_by_one
from tests.processes import run_ranks
from wtal_bench.testing import random_batch

SETS = ((13, 40, 21), (40,))
"""Lengths of the videos; with one video the second process has nothing to do."""


def labels_of(lengths: tuple[int, ...]) -> dict:
    model = a_model()
    model.begin_epoch(0, one_by_one(model, random_batch(lengths)))
    assert all(len(video.columns) for video in model.heads["labels"].latest.videos.values())
    return model.heads["labels"].get_extra_state()


def share_of_the_labels(rank: int, world: int, address: str, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    torch.set_num_threads(1)
    torch.save([labels_of(lengths) for lengths in SETS], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_share_the_work_and_all_hold_the_labels_of_one(tmp_path):
    run_ranks(share_of_the_labels, tmp_path)
    for rank in range(2):
        for lengths, theirs in zip(SETS, torch.load(tmp_path / f"{rank}.pt", weights_only=True), strict=True):
            expected, found = flat({"": labels_of(lengths)}), flat({"": theirs})
            assert expected.keys() == found.keys()
            for name, value in expected.items():
                same = torch.equal(value, found[name]) if isinstance(value, torch.Tensor) else value == found[name]
                assert same, f"{name} of rank {rank} differs"
