"""Streams: independent models in one run, equal bit for bit to runs of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.modeling.toys import config, registered
from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.streams import merged, stream_generator
from wtal_bench.running.hooks import seed_everything
from wtal_bench.testing import random_batch

COLUMNS = {"rgb": (0, 4), "flow": (4, 8)}


@pytest.fixture(autouse=True)
def _toys():
    with registered():
        yield


def tree(streams: dict, **changes) -> dict:
    member = {key: value for key, value in config().items() if key in ("heads", "losses")}
    member["backbone"] = {"type": "toy.Trunk", "width": 4, "dropout": 0.5}
    first = next(iter(streams))
    decoder = {"type": "toy.OneDetection", "reads": {"cas": f"{first}.cas", "attention": f"{first}.attention"}}
    return {"type": "Streams", "streams": streams, "member": member, "postprocessor": decoder, **changes}


def trained(streams: dict, steps: int = 4, **changes) -> dict[str, torch.Tensor]:
    """State after some optimiser steps, dropout on, each step seeded as the runner does."""
    seed_everything(7)
    model = build_model(tree(streams, **changes), "my.py").double().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)
    for step in range(steps):
        seed_everything(7, step)
        optimizer.zero_grad()
        model.losses(random_batch([9, 4, 6], seed=step))["total"].backward()
        optimizer.step()
    return model.state_dict()


def test_two_streams_in_one_run_equal_two_runs_of_one_bit_for_bit():
    both = trained(COLUMNS)
    apart = {}
    for name, columns in COLUMNS.items():
        apart |= trained({name: columns})
    assert set(both) == set(apart)
    assert all(torch.equal(value, apart[name]) for name, value in both.items())
    start = trained(COLUMNS, steps=0)
    assert all(not torch.equal(value, start[name]) for name, value in both.items())
    first = {name.removeprefix("members.rgb."): v for name, v in both.items() if name.startswith("members.rgb.")}
    assert any(not torch.equal(value, both[f"members.flow.{name}"]) for name, value in first.items())


def test_the_order_of_the_streams_changes_nothing():
    both, other = trained(COLUMNS), trained(dict(reversed(COLUMNS.items())))
    assert all(torch.equal(value, other[name]) for name, value in both.items())


def test_a_change_to_one_stream_leaves_the_others_alone():
    plain = trained(COLUMNS)
    changes = {"flow": {"backbone": {"channels": 6}, "heads": {"cas": {"channels": 6}, "attention": {"channels": 6}}}}
    changed = trained(COLUMNS, overrides=changes)
    assert changed["members.flow.backbone.conv.conv.weight"].shape == (6, 4, 3)
    assert plain["members.flow.backbone.conv.conv.weight"].shape == (4, 4, 3)
    for name, value in plain.items():
        if name.startswith("members.rgb."):
            assert torch.equal(value, changed[name])


def test_a_stream_may_leave_out_a_part_of_the_member():
    model = build_model(tree(COLUMNS, overrides={"flow": {"losses": {"terms": None}}}), "my.py").double()
    made = model.losses(random_batch([5, 3]))
    assert set(made) == {"rgb.cls", "rgb.terms.first", "rgb.terms.second", "flow.cls", "total"}


def test_each_stream_sees_its_columns_alone_and_the_loss_is_the_sum():
    model = build_model(tree(COLUMNS), "my.py").double().eval()
    batch = random_batch([5, 3])
    outputs, losses = model.compute(batch), model.losses(batch)
    total = 0
    for name, (first, end) in COLUMNS.items():
        own = replace(batch, features=batch.features[:, :, first:end])
        for field, value in model.members[name].compute(own).items():
            assert torch.equal(outputs[f"{name}.{field}"], value)
        total = total + model.members[name].losses(own)["total"]
    torch.testing.assert_close(losses["total"], total, rtol=0, atol=1e-15)
    assert list(model.compute(batch, ["flow.cas"])) == ["flow.embedding", "flow.cas", "flow.video_logits"]


def test_all_columns_and_shared_columns_are_allowed():
    streams = {"whole": None, "again": (0, 8)}
    changed = tree(streams)
    changed["member"]["backbone"]["width"] = 8
    model = build_model(changed, "my.py").double().eval()
    model.members["again"].load_state_dict(model.members["whole"].state_dict())
    outputs = model.compute(random_batch([5]))
    assert torch.equal(outputs["whole.cas"], outputs["again.cas"])


def test_features_too_narrow_for_a_stream_are_told():
    model = build_model(tree(COLUMNS), "my.py").double()
    with pytest.raises(ConfigError, match=r"model\.streams\.flow takes columns 4\.\.8, but the features have 6"):
        model.compute(random_batch([5], width=6))


def test_the_decoder_reads_fields_by_stream():
    decoder = {"type": "toy.OneDetection", "reads": {"cas": "rbg.cas"}}
    with pytest.raises(ConfigError, match=r"reads `rbg\.cas`.*Did you mean 'rgb\.cas'\?"):
        build_model(tree(COLUMNS, postprocessor=decoder), "my.py")


def test_video_fields_keep_their_kind_under_their_stream():
    changed = tree(COLUMNS)
    changed["member"]["heads"] = {**changed["member"]["heads"], "bank": {"type": "toy.Bank"}}
    model = build_model(changed, "my.py").double().eval()
    fields = ["rgb.cas", "flow.video_logits", "flow.class_weights"]
    shapes = [[video[name].shape for name in fields] for video, _ in model.video_outputs(random_batch([5, 2]), fields)]
    assert shapes == [[(5, 3), (3,), (5, 4)], [(2, 3), (3,), (5, 4)]]
    alone = model.predict(random_batch([5, 2], keep=[1]))[0].detections.rows()
    assert np.array_equal(alone, model.predict(random_batch([5, 2]))[1].detections.rows())


def test_each_stream_begins_an_epoch_with_its_own_view_of_the_training_set():
    model = build_model(tree(COLUMNS), "my.py").double().eval()
    batch = random_batch([5])
    seen = {}
    for path, component in model.components():
        component.begin_epoch = lambda epoch, run, path=path: seen.update({path: (epoch, list(run()))})
    model.begin_epoch(2, lambda: iter([(model.compute(batch), batch)]))
    for name, (first, end) in COLUMNS.items():
        epoch, ((outputs, own),) = seen[f"members.{name}.backbone"]
        assert epoch == 2
        assert set(outputs) == {"embedding", "cas", "video_logits", "attention"}
        assert torch.equal(own.features, batch.features[:, :, first:end])


def test_a_stream_generator_is_a_function_of_seed_and_name_and_leaves_the_rest_alone():
    def draw(seed: int, name: str) -> float:
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        with stream_generator(name):
            value = float(torch.rand(1))
        assert torch.equal(torch.get_rng_state(), before)
        return value

    assert draw(1, "rgb") == draw(1, "rgb")
    assert len({draw(1, "rgb"), draw(1, "flow"), draw(2, "rgb")}) == 3


def test_configs_merge_key_by_key_and_lists_whole():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [9]}, "e": {"f": 1}, "d": None}) == {
        "a": {"b": 1, "c": [9]}, "d": None, "e": {"f": 1},
    }  # fmt: skip
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


@pytest.mark.parametrize("key", ["losses", "heads", "backbone", "views"])
def test_a_part_that_belongs_into_the_members_is_sent_there(key):
    with pytest.raises(ConfigError, match=rf"^my\.py: model\.{key}: .*'Streams'.* say model\.member\.{key} instead"):
        build_model(tree(COLUMNS, **{key: {}}), "my.py")
    with pytest.raises(ConfigError, match="has no argument 'loses'"):
        build_model(tree(COLUMNS, loses={}), "my.py")
