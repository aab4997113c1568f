"""Gathering: exactly the rows the sampling names, whatever the batch mates, the padding or where the features live."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.stores import LENGTHS, features, toy_store
from wtal_bench.data.gather import gather
from wtal_bench.data.sampling import build_sampling
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError

SAMPLINGS = [
    "whole",
    {"type": "uniform", "length": 5},
    {"type": "uniform", "length": 5, "min_length": 1},
    {"type": "random_segments", "length": 5},
    {"type": "random_segments", "length": 5, "short": "resample", "last": "follow", "frozen": True},
    {"type": "linear", "length": 5},
    {"type": "linear", "length": 9, "align": "corners"},
    {"type": "random_crop", "length": 3},
    {"type": "resample", "length": 6},
]


# "cpu" walks the way of features that live on a device, where there is none
@pytest.fixture(params=[None, "ram", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def store(request, tmp_path):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    toy_store(tmp_path / "s")
    return FeatureStore.open(tmp_path / "s", resident=request.param)


def interpolated(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The plain meaning of fractional positions, column by column."""
    return np.stack([np.interp(positions, np.arange(len(values)), column) for column in values.T], axis=1)


@pytest.mark.parametrize("spec", SAMPLINGS, ids=str)
def test_every_row_is_the_stored_snippet_its_index_names(store, spec):
    batch = gather(store, [2, 0, 1], spec, seed=4, epoch=2)
    for place, video in enumerate((2, 0, 1)):
        size = int(batch.lengths[place])
        positions = build_sampling(spec).draw(LENGTHS[video], seed=4, epoch=2, video=f"v{video}")
        np.testing.assert_array_equal(batch.snippet_index[place, :size].cpu(), positions)
        wanted = interpolated(features(video, LENGTHS[video]).astype(np.float64), positions)
        np.testing.assert_allclose(batch.features[place, :size].cpu(), wanted, rtol=0, atol=2e-6)
        meta = batch.meta[place]
        named = np.arange(meta.num_snippets) if meta.snippet_index is None else meta.snippet_index
        np.testing.assert_array_equal(named, positions)
        assert not batch.features[place, size:].any()
        assert not batch.snippet_index[place, size:].any()
        assert batch.mask[place].tolist() == [True] * size + [False] * (batch.mask.shape[1] - size)
    assert batch.features.dtype == torch.float32
    assert batch.index.tolist() == [2, 0, 1]
    assert batch.epoch == 2


@pytest.mark.parametrize("spec", SAMPLINGS, ids=str)
def test_batch_mates_and_padding_change_no_bit(store, spec):
    alone = gather(store, [1], spec, seed=4, epoch=2)
    among = gather(store, [2, 1, 3], spec, seed=4, epoch=2)
    size = int(alone.lengths[0])
    assert torch.equal(alone.features[0], among.features[1, :size])
    assert torch.equal(alone.snippet_index[0], among.snippet_index[1, :size])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("out", ["float32", "float64"])
@pytest.mark.parametrize("spec", SAMPLINGS, ids=str)
def test_map_ram_and_resident_give_the_same_bits(tmp_path, dtype, out, spec):
    toy_store(tmp_path / "s", dtype=dtype)
    batches = [
        gather(
            FeatureStore.open(tmp_path / "s", resident=where),
            [3, 2],
            spec,
            seed=1,
            epoch=1,
            dtype=out,
            streams=["flow", "rgb"],
        )
        for where in (None, "ram", "cpu")
    ]
    for other in batches[1:]:
        assert torch.equal(other.features, batches[0].features)
        assert torch.equal(other.mask, batches[0].mask)
    assert batches[0].features.dtype == getattr(torch, out)


def test_whole_rows_are_exact_and_streams_come_in_the_order_asked_for(store):
    batch = gather(store, [0], "whole", streams=["flow", "rgb"])
    np.testing.assert_array_equal(batch.features[0].cpu(), features(0, 7)[:, [3, 4, 0, 1, 2]])
    batch = gather(store, [0], "whole", streams=["flow"])
    np.testing.assert_array_equal(batch.features[0].cpu(), features(0, 7)[:, 3:])


def test_linear_in_double_precision_is_exact_interpolation(store):
    batch = gather(store, [2], {"type": "linear", "length": 31}, dtype="float64")
    wanted = interpolated(features(2, 12).astype(np.float64), batch.snippet_index[0].cpu().numpy())
    np.testing.assert_allclose(batch.features[0].cpu(), wanted, rtol=0, atol=1e-15)


def test_labels_index_and_meta_are_those_of_the_data_set(store):
    labels = np.array([[1.0, 0.0], [0.0, 1.0]])
    metas = [store.meta(3), store.meta(1)]
    batch = gather(store, [3, 1], "whole", labels=labels, index=[17, 5], meta=metas)
    assert batch.labels.tolist() == labels.tolist()
    assert batch.labels.dtype == torch.float32
    assert batch.index.tolist() == [17, 5]
    assert batch.meta == (store.meta(3), store.meta(1))
    assert gather(store, [3], "whole").labels is None


def test_a_video_drawn_twice_gets_two_draws_unless_frozen(store):
    spec = {"type": "random_segments", "length": 6}
    batch = gather(store, [2, 0, 2], spec, seed=3)
    assert batch.snippet_index[0].tolist() != batch.snippet_index[2].tolist()
    assert batch.snippet_index[0].tolist() == gather(store, [2], spec, seed=3).snippet_index[0].tolist()
    frozen = gather(store, [2, 0, 2], {**spec, "frozen": True}, seed=3)
    assert frozen.snippet_index[0].tolist() == frozen.snippet_index[2].tolist()


def test_one_snippet_videos_work_with_every_sampling(store):
    for spec in SAMPLINGS:
        batch = gather(store, [1], spec)
        assert batch.features.shape[0] == 1
        assert (batch.features[0].cpu() == torch.from_numpy(features(1, 1))).all()


def test_a_batch_can_be_written_to_without_touching_the_store(store):
    batch = gather(store, [0], "whole")
    batch.features.add_(5)
    np.testing.assert_array_equal(gather(store, [0], "whole").features[0].cpu(), features(0, 7))


@pytest.mark.parametrize("indices", [[], [4], [-1], [0.5], [[0]]])
def test_positions_outside_the_store_are_refused(store, indices):
    with pytest.raises(DataError, match="gather"):
        gather(store, indices)


def test_other_precisions_are_refused(store):
    with pytest.raises(ConfigError, match="float32 or float64"):
        gather(store, [0], dtype="float16")
