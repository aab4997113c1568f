"""FTCL against numbers of the authors' code: selections, matrices, similarities, losses, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers import golden_files, load_golden
from tests.parity.acm import (
    assert_gradients,
    batch_with,
    build,
    meta_of,
    network_outputs,
    smoothmax_of,
)
from tests.parity.host_files import assert_near
from wtal_bench.plugins import registry
from wtal_plugins.ftcl.losses import FSD, LCS, Compared
from wtal_plugins.ftcl.recursions import align, common_length, common_table
from wtal_plugins.ftcl.wavefront import unskew

LOSSES = ("cls_inst", "cls_cont", "cls_back", "guide", "feat", "sparse")


def paired_batch(sides: list[np.ndarray], same: np.ndarray):
    """Sequences as the embedding of short videos: rows of side 0 first, and a score that keeps their order."""
    count = len(same)
    batch = batch_with(
        [*sides[0], *sides[1]], np.ones((2 * count, 1)), np.stack([np.arange(count), count + np.arange(count)], axis=1)
    )
    batch.pair_same = torch.from_numpy(same)
    score = torch.arange(batch.mask.shape[1], 0, -1, dtype=torch.float64).expand(2 * count, -1)
    return {"embedding": batch.features, "attention": score}, batch


def edit_matrices(loss: FSD, compared: Compared):
    """mu, g, S and s, the residuals with their gradients kept."""
    mu, g = loss.residuals(compared.u, compared.v)
    mu.retain_grad()
    g.retain_grad()
    s, table = align(mu, g, *compared.lengths, loss.smoothmax, loss.gamma)
    return mu, g, s, table


def common_matrices(loss: LCS, compared: Compared):
    """Cosines before any rescaling, R and r."""
    similarity, match = loss.matches(compared)
    table = unskew(common_table(similarity.detach(), match))
    return similarity, table, common_length(similarity, match, *compared.lengths)


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_fsd_*.npz"))
def test_sequence_distance(path):
    data = load_golden(path)
    meta, same = meta_of(data), data["in/pair_label"]
    sizes = [data[f"in/act_{side}"].shape[1] for side in (0, 1)]
    assert sizes == [meta["len_0"], meta["len_1"]]
    outputs, batch = paired_batch(
        [np.concatenate([data[f"in/act_{side}"], data[f"in/bak_{side}"]], axis=1) for side in (0, 1)], same
    )
    width, channels = data["param/trans.weight"].shape
    settings = dict(
        type="ftcl.FSD", channels=channels, proj_dim=width // 2, selection=dict(length=max(sizes)), **smoothmax_of(meta)
    )
    loss = registry("loss").build(settings, "golden").double()
    loss.trans.load_state_dict({k: torch.from_numpy(data[f"param/trans.{k}"]) for k in ("weight", "bias")})

    projected = []
    hook = loss.trans.register_forward_hook(lambda layer, given, made: projected.append(made) or made.retain_grad())
    compared = loss.compared(outputs, batch)
    mu, g, s, table = edit_matrices(loss, compared)
    value = loss.contrast(s, batch.pair_same > 0, compared)
    value.backward()
    m, n = sizes
    assert_near(mu[:, :m, :n], data["out/mu"], what="mu")
    assert_near(g[:, :m, :n], data["out/g"], what="g")
    assert_near(table[:, : m + 1, : n + 1], data["out/S"], what="S")
    assert_near(s, data["out/s"], what="s")
    assert_near(value, data["loss/fsd"], what="fsd")
    assert_near(mu.grad[:, :m, :n], data["grad/mu"], what="grad/mu")
    assert_near(g.grad[:, :m, :n], data["grad/g"], what="grad/g")
    for name in ("weight", "bias"):
        assert_near(getattr(loss.trans, name).grad, data[f"grad/trans.{name}"], what=f"grad/trans.{name}")

    hook.remove()
    first, second = projected
    different = (1 - same)[:, None, None]
    assert_near(first[:, :m], data["out/trans_act_0"], what="trans_act_0")
    assert_near(first.grad[:, :m], data["grad/trans_act_0"], what="grad/trans_act_0")
    for name, group in (("act", 1 - different), ("bak", different)):
        assert_near(second[:, :n].detach().numpy() * group, data[f"out/trans_{name}_1"] * group, what=f"trans_{name}_1")
        assert_near(second.grad[:, :n].numpy() * group, data[f"grad/trans_{name}_1"], what=f"grad/trans_{name}_1")
    with torch.no_grad():
        assert_near(loss.trans(torch.from_numpy(data["in/bak_0"])), data["out/trans_bak_0"], what="trans_bak_0")
    assert not data.get("grad/trans_bak_0", np.zeros(1)).any()  # nobody reads it, and we do not make it
    for side, size in enumerate(sizes):
        rows = batch.features.grad[len(same) * side : len(same) * (side + 1)]
        assert_near(rows[:, :size], data[f"grad/act_{side}"], what=f"grad/act_{side}")
        assert_near(rows[:, size : 2 * size], data[f"grad/bak_{side}"], what=f"grad/bak_{side}")

    assert_near(loss(outputs, batch)["contrast"], data["loss/fsd"], what="the loss as a whole")


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_lcs_*.npz"))
def test_common_subsequence(path):
    data = load_golden(path)
    meta, same = meta_of(data), data["in/pair_label"]
    sides = [data["in/seq_0"], data["in/seq_1"]]
    m, n = (x.shape[1] for x in sides)
    outputs, batch = paired_batch(sides, same)
    loss = registry("loss").build(dict(type="ftcl.LCS", tau=meta["tau"], selection=dict(length=max(m, n))), "golden")
    compared = loss.compared(outputs, batch)
    similarity, table, r = common_matrices(loss, compared)
    similarity.retain_grad()
    value = loss.contrast(r, batch.pair_same > 0, compared)
    value.backward()
    assert_near(similarity[:, :m, :n], data["out/sim"], what="sim")
    assert_near(table[:, : m + 1, : n + 1], data["out/R"], what="R")
    assert_near(r, data["out/r"], what="r")
    assert_near(value, data["loss/lcs"], what="lcs")
    assert_near(similarity.grad[:, :m, :n], data["grad/sim"], what="grad/sim")
    for side, size in enumerate((m, n)):
        rows = batch.features.grad[len(same) * side : len(same) * (side + 1), :size]
        assert_near(rows, data[f"grad/seq_{side}"], what=f"grad/seq_{side}")

    assert_near(loss(outputs, batch)["contrast"], data["loss/lcs"], what="the loss as a whole")
    for pair, found in enumerate(loss.subsequences(outputs, batch)):
        cells = np.argwhere(data["grad/sim"][pair] != 0)
        np.testing.assert_array_equal(found.snippets, cells)
        assert_near(found.similarity, data["out/sim"][pair][tuple(cells.T)], what="mined similarities")


def part(model, name):
    """A loss by its config key, or None."""
    return model._losses[name].component if name in model._losses else None


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_total_*.npz"))
def test_whole_objective_on_pairs(path):
    data = load_golden(path)
    model = build(data)
    features = [x for pair in zip(data["in/features_0"], data["in/features_1"]) for x in pair]
    count = len(features) // 2
    labels = np.stack([data["in/labels_0"], data["in/labels_1"]], axis=1).reshape(2 * count, -1)
    batch = batch_with(features, labels, np.arange(2 * count).reshape(count, 2))
    np.testing.assert_array_equal(batch.pair_same, data["in/pair_label"])
    sizes = [data[f"in/features_{side}"].shape[1] for side in (0, 1)]

    outputs = model.compute(batch)
    lcs, fsd = part(model, "lcs"), part(model, "fsd")
    for side, size in enumerate(sizes):
        for name, value in network_outputs(outputs).items():
            timed = name in ("embedded", "att") or name.startswith("cas")
            own = value[side::2, :size] if timed else value[side::2]
            assert_near(own, data[f"out/{name}_{side}"], what=f"{name}_{side}")
        for loss, names in ((lcs, ("lcs",)), (fsd, ("act", "bak"))):
            sequences = loss.selection.sequences(outputs["attention"], batch) if loss else []
            for name, found in zip(names, sequences):
                np.testing.assert_array_equal(found.index[side::2], data[f"out/idx_{name}_{side}"])
    if lcs:
        compared = lcs.compared(outputs, batch)
        for name, value in (("seq_lcs_0", compared.u), ("seq_lcs_1", compared.v)):
            assert_near(value, data[f"out/{name}"], what=name)
        for name, value in zip(("sim", "R"), common_matrices(lcs, compared)):
            assert_near(value, data[f"out/{name}"], what=name)
    if fsd:
        for side in (0, 1):
            for name, found in zip(("act", "bak"), fsd.selection.sequences(outputs["attention"], batch)):
                if f"out/trans_{name}_{side}" not in data:
                    continue
                rows = found.index[side::2].unsqueeze(-1).expand(-1, -1, outputs["embedding"].shape[-1])
                projected = fsd.trans(outputs["embedding"][side::2].gather(1, rows))
                assert_near(projected, data[f"out/trans_{name}_{side}"], what=f"trans_{name}_{side}")
        for name, value in zip(("mu", "g", "s", "S"), edit_matrices(fsd, fsd.compared(outputs, batch))):
            if name != "s":
                assert_near(value, data[f"out/{name}"], what=name)

    losses = model.losses(batch, outputs)
    check_total(model, losses, batch, data)
    for side, size in enumerate(sizes):
        assert_near(batch.features.grad[side::2, :size], data[f"grad/features_{side}"], 1e-8, f"features_{side}")


@pytest.mark.parametrize("path", golden_files("ftcl", "ftcl_inbatch_*.npz"))
def test_whole_objective_inside_a_batch(path):
    data = load_golden(path)
    meta, model = meta_of(data), build(data)
    pairs = np.concatenate([data["in/pos_pairs"].reshape(-1, 2), data["in/neg_pairs"].reshape(-1, 2)])
    batch = batch_with(data["in/features"], data["in/labels"], pairs)
    positive = len(data["in/pos_pairs"])
    np.testing.assert_array_equal(batch.pair_same, np.arange(len(pairs)) < positive)
    outputs = model.compute(batch)
    lcs, fsd = part(model, "lcs"), part(model, "fsd")
    groups = (("pos", slice(None, positive)), ("neg", slice(positive, None)))
    if lcs and positive:
        compared = lcs.compared(outputs, batch)
        lcs_table = common_matrices(lcs, compared)[1]
        plain = registry("loss").build(
            dict(type="ftcl.LCS", tau=meta["tau"], selection=dict(length=meta["lcs_len"])), "golden"
        )
        for name, rows in groups:
            assert_near(plain.matches(compared)[0][rows], data[f"out/sim_{name}"], what=f"sim_{name}")
            assert_near(lcs_table[rows], data[f"out/R_{name}"], what=f"R_{name}")
    if fsd and positive:
        table = edit_matrices(fsd, fsd.compared(outputs, batch))[3]
        for name, rows in groups:
            assert_near(table[rows], data[f"out/S_{name}"], what=f"S_{name}")
    check_total(model, model.losses(batch, outputs), batch, data)
    assert_near(batch.features.grad, data["grad/features"], what="grad/features")


def check_total(model, losses, batch, data):
    """Every loss, the weighted sums and every gradient."""
    for name in LOSSES:
        assert_near(losses[name], data[f"loss/{name}"], what=name)
    weighted = {
        name: model._weights[name].at("contrast", 0) * losses[name] for name in losses if name in ("lcs", "fsd")
    }
    for name, value in weighted.items():
        if f"loss/{name}_weighted" in data:
            assert_near(value, data[f"loss/{name}_weighted"], what=name)
    assert_near(losses["total"] - sum(weighted.values()), data["loss/acm"], what="acm")
    assert_near(losses["total"], data["loss/total"], what="total")
    assert_gradients(model, losses["total"], data)
