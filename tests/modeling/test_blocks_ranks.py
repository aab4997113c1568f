"""Gathering tensors over training processes: rank order, lengths that differ, and nothing to do in one process."""

import torch

from tests.processes import run_ranks
from wtal_bench.modeling.blocks import gather_ranks


def rows_of(rank: int) -> torch.Tensor:
    return torch.arange(2.0 * rank).reshape(rank, 2) + 10 * rank  # none on rank 0


def gather_in_a_process(rank: int, world: int, address: str, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    torch.save(gather_ranks(rows_of(rank)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_every_rank_sees_all_rows_in_rank_order(tmp_path):
    world = 2
    run_ranks(gather_in_a_process, tmp_path, world)
    for rank in range(world):
        parts = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert [part.tolist() for part in parts] == [rows_of(r).tolist() for r in range(world)]


def test_one_process_gives_its_own_tensor():
    x = rows_of(2)
    assert gather_ranks(x)[0] is x
