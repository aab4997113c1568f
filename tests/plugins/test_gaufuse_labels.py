"""GauFuse's pseudo labels: made on any host, kept by video, gathered by snippet, resumed, shared between processes."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers import REPOSITORY
from tests.plugins.gaufuse_passes import LENGTHS, a_model, flat, one_by_one
from tests.running.conftest import dataset, make_dataset, tiny_config  # noqa: F401
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config, load_config
from wtal_bench.running.run import train
from wtal_bench.running.workdir import WorkDir
from wtal_bench.structures import VideoMeta
from wtal_bench.testing import random_batch
from wtal_plugins.gaufuse.examples import CANDIDATES, official, two_curves, without_background
from wtal_plugins.gaufuse.label_store import LabelStore, VideoLabels
from wtal_plugins.gaufuse.labels import PseudoLabels
from wtal_plugins.gaufuse.linpro import LinPro
from wtal_plugins.gaufuse.losses import PseudoLabelLoss


@pytest.mark.parametrize("example", [official, without_background, two_curves])
def test_labels_keep_the_confidences_of_the_host_s_own_fused_instances(example):
    model, batch = a_model(example), random_batch(LENGTHS)
    head = model.heads["labels"]
    training_pass = one_by_one(model, batch)
    head.begin_epoch(0, training_pass)
    instances = 0
    for outputs, single in training_pass():
        own = head.latest.videos[single.meta[0].id]
        problems = head.instances(outputs, single, head.generations[0])
        solved = dict(zip(problems, LinPro(selection=head.linpro.selection)(problems.values())))
        assert own.columns.tolist() == [label for label, s in solved.items() if s.status == 0]
        for label, values in zip(own.columns, own.values):
            np.testing.assert_array_equal(values, solved[label].label)
            assert values.shape == (single.meta[0].num_snippets,)
        instances += sum(len(problem) for problem in problems.values())
    assert instances
    assert head.counts["videos"] == len(LENGTHS)
    assert head.counts["classes labelled"] == sum(len(v.columns) for v in head.latest.videos.values())
    assert 0 < head.counts["classes with a fused time on a whole snippet"] <= head.counts["classes labelled"]
    assert head.counts["of them an ulp below it"] <= head.counts["classes with a fused time on a whole snippet"]


def test_gating_leaves_absent_classes_unlabelled():
    batch = random_batch(LENGTHS)
    labelled = {}
    for gate in (False, True):
        model = a_model(gate_by_label=gate)
        model.begin_epoch(0, one_by_one(model, batch))
        labelled[gate] = {name: set(v.columns.tolist()) for name, v in model.heads["labels"].latest.videos.items()}
    tags = {meta.id: set(np.flatnonzero(row)) for meta, row in zip(batch.meta, batch.labels.numpy())}
    assert labelled[True] == {name: columns & tags[name] for name, columns in labelled[False].items()}
    assert labelled[True] != labelled[False]


def a_head(*generations: dict[str, VideoLabels], schedule=((0, "absolute", 1.0),), columns=3) -> PseudoLabels:
    head = PseudoLabels(columns, CANDIDATES, list(range(len(generations))), schedule)
    made = iter(generations)
    head.generate = lambda training_pass, fusion: (LabelStore(next(made)), {})
    for epoch in range(len(generations)):
        head.begin_epoch(epoch, None)
    return head


def a_batch(positions: list[np.ndarray | None], stored: list[int], epoch: int = 0) -> Batch:
    lengths = [n if p is None else len(p) for p, n in zip(positions, stored)]
    batch = random_batch(lengths)
    metas = tuple(VideoMeta(f"v{i}", n * 0.64, 25.0, 16, n, p) for i, (p, n) in enumerate(zip(positions, stored)))
    for row, own in enumerate(positions):
        if own is not None:
            batch.snippet_index[row, : len(own)] = torch.from_numpy(own)
    return replace(batch, meta=metas, epoch=epoch)


def test_labels_follow_the_sampled_snippets():
    values = np.arange(6.0)
    videos = {"v0": VideoLabels(np.array([2]), values[None]), "v1": VideoLabels(np.zeros(0, int), np.zeros((0, 4)))}
    head = a_head(videos)
    picked, resized = np.array([0.0, 3.0, 3.0, 5.0]), np.array([0.0, 2.5, 5.0])
    for positions, expected in ((None, values), (picked, [0, 3, 3, 5]), (resized, [0, 2.5, 5])):
        labels = head({}, a_batch([positions, None], [6, 4]))["pseudo_labels"]
        assert labels[0, : len(expected), 2].tolist() == list(expected)
        assert not labels[0, len(expected) :].any()
        assert not labels[0, :, :2].any()
        assert not labels[1].any()


def test_differences_begin_with_the_first_generation_itself():
    first, second = (VideoLabels(np.array(c), np.full((1, 4), v)) for c, v in (([0], 0.5), ([1], 0.2)))
    schedule = [(0, "none", 0.0), (2, "absolute", 1.0), (3, "delta", 2.0)]
    one, two = a_head({"v0": first}, schedule=schedule), a_head({"v0": first}, {"v0": second}, schedule=schedule)

    def at(head, epoch):
        return head({}, a_batch([None], [4], epoch))["pseudo_labels"][0, 0].tolist()

    assert at(two, 1) == [0, 0, 0]
    assert at(two, 2) == [0, 0.2, 0]
    assert at(two, 3) == [-1.0, 0.4, 0]
    assert at(one, 3) == [1.0, 0, 0]
    assert at(PseudoLabels(3, CANDIDATES, [5], schedule), 4) == [0, 0, 0]


def test_state_survives_a_checkpoint_and_a_repeated_generation_replaces_itself(tmp_path):
    first, second = (VideoLabels(np.array([0]), np.full((1, 4), v)) for v in (0.5, 0.2))
    head = a_head({"v0": first}, {"v0": second}, schedule=[(0, "delta", 1.0)])
    torch.save(head.state_dict(), tmp_path / "state.pt")
    again = PseudoLabels(3, CANDIDATES, [0, 1], [(0, "delta", 1.0)])
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    batch = a_batch([None], [4])
    assert torch.equal(head({}, batch)["pseudo_labels"], again({}, batch)["pseudo_labels"])
    again.generate = lambda training_pass, fusion: (LabelStore({"v0": first}), {})
    again.begin_epoch(1, None)
    assert again.previous.videos["v0"].values[0, 0] == 0.5
    assert not again({}, batch)["pseudo_labels"].any()


def test_an_interrupted_refresh_leaves_the_labels_before_it():
    model, batch = a_model(), random_batch(LENGTHS)
    model.begin_epoch(0, one_by_one(model, batch))
    head = model.heads["labels"]
    before, counts = head.latest, head.counts
    with pytest.raises(KeyboardInterrupt):
        model.begin_epoch(1, one_by_one(model, batch, fail_after=2))
    assert head.latest is before
    assert (head.made_at, head.counts) == (0, counts)
    model.begin_epoch(1, one_by_one(model, batch))
    assert head.previous is before
    assert head.made_at == 1


def test_no_candidate_at_all_gives_empty_labels():
    model, batch = a_model(decoder=dict(CANDIDATES, thresholds=[2.0])), random_batch(LENGTHS)
    model.begin_epoch(0, one_by_one(model, batch))
    head = model.heads["labels"]
    assert head.counts["without an instance"] == len(LENGTHS)
    assert not head({}, batch)["pseudo_labels"].any()
    assert model.losses(batch)["pseudo"] == 0


def test_classes_without_a_solution_are_counted_and_unlabelled():
    # confidences are CAS means, so only doubled ones can exceed what the snippets hold
    model, batch = a_model(), random_batch(LENGTHS)
    head = model.heads["labels"]
    plain = head.instances

    def doubled(outputs, single, fusion):
        return {c: replace(p, confidence=p.confidence + p.snippets) for c, p in plain(outputs, single, fusion).items()}

    head.instances = doubled
    model.begin_epoch(0, one_by_one(model, batch))
    assert head.counts["classes labelled"] == 0
    assert head.counts["classes without a solution"] > 0
    assert not head({}, batch)["pseudo_labels"].any()


def test_labels_of_other_videos_or_other_features_are_refused():
    head = a_head({"v0": VideoLabels(np.array([0]), np.ones((1, 4)))})
    with pytest.raises(DataError, match="'v0' has 5 snippets, its pseudo labels 4"):
        head({}, a_batch([None], [5]))
    with pytest.raises(DataError, match="no pseudo labels for video 'v1'"):
        head({}, a_batch([None, None], [4, 4]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(schedule=[(0, "absolut", 1.0)]), "Did you mean 'absolute'"),
        (dict(schedule=[(0, "delta")]), "schedule is a list of"),
        (dict(generations=[1, 2], temperatures=[0.1]), "one for each of the 2 generations"),
        (dict(fusion=dict(distribution="gauss")), "fusion.distribution"),
        (dict(fusion=dict(overlapp=0.1)), "Did you mean 'overlap'"),
        (dict(linpro=dict(selection="vertex")), "linpro.selection"),
        (dict(decoder=dict(CANDIDATES, nms=dict(iou=0.5))), "takes the place of the NMS"),
    ],
)
def test_impossible_settings_are_refused(changes, text):
    given = dict(num_columns=3, decoder=CANDIDATES, generations=[1], schedule=[(0, "absolute", 1.0)]) | changes
    with pytest.raises(ConfigError, match=text):
        PseudoLabels(**given)


def test_a_decoder_of_more_classes_than_columns_is_refused():
    model = a_model(num_columns=1)
    batch = random_batch(LENGTHS)
    with pytest.raises(ConfigError, match="num_columns=1"):
        model.begin_epoch(0, one_by_one(model, batch))


# ---- the loss ----


def test_background_s_fixed_zero_logit_is_a_column_without_a_label():
    batch = random_batch((6, 4))
    rng = torch.Generator().manual_seed(0)
    logits, labels = (torch.randn(2, 6, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    read = {"cas": logits, "pseudo_labels": labels}
    ours = PseudoLabelLoss(form="softmax_with_zero")(read, batch)["pseudo"]
    zero = torch.zeros(2, 6, 1, dtype=torch.float64)
    wide = {"cas": torch.cat([logits, zero], -1), "pseudo_labels": torch.cat([labels, zero], -1)}
    torch.testing.assert_close(ours, PseudoLabelLoss()(wide, batch)["pseudo"], rtol=1e-13, atol=0)
    rows = [-(labels[i, :n] * torch.log(torch.sigmoid(logits[i, :n]))).sum(-1).mean() for i, n in enumerate((6, 4))]
    signed = PseudoLabelLoss(form="sigmoid")(read, batch)["pseudo"]
    torch.testing.assert_close(signed, torch.stack(rows).mean(), rtol=1e-12, atol=0)


def test_negative_labels_push_a_class_down():
    batch = random_batch((4,))
    logits = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0.0, 0.3, -0.3], dtype=torch.float64).expand(1, 4, 3)
    PseudoLabelLoss()({"cas": logits, "pseudo_labels": labels}, batch)["pseudo"].backward()
    assert (logits.grad[..., 1] < 0).all()
    assert (logits.grad[..., 2] > 0).all()


def test_columns_that_do_not_match_are_explained():
    batch = random_batch((4,))
    read = {"cas": torch.zeros(1, 4, 3), "pseudo_labels": torch.zeros(1, 4, 4)}
    with pytest.raises(ConfigError, match="3 columns, the pseudo labels 4: set num_columns"):
        PseudoLabelLoss()(read, batch)
    with pytest.raises(ConfigError, match="Did you mean 'softmax'"):
        PseudoLabelLoss(form="softmx")


# ---- whole runs ----


def tiny_gaufuse(root, epochs: int) -> dict:
    """GauFuse on RSKP on the tiny data set: memory from epoch 1, generations at 1, 2 and 3, dropout on."""
    tree = tiny_config(root)
    model = copy.deepcopy(load_config(REPOSITORY / "configs" / "gaufuse_synthetic.py").model)
    model["backbone"] |= dict(in_channels=8, channels=8, dropout_in_passes=[1, 2, 3])
    for head in model["heads"].values():
        head |= {key: value for key, value in dict(channels=8, num_classes=5).items() if key in head}
    model["heads"]["memory"] |= dict(start=1, clear_at=[3])
    schedule = [(1, "absolute", 1.0), (2, "delta", 2.0)]
    model["heads"]["labels"] |= dict(num_columns=6, generations=[1, 2, 3], temperatures=0.02, schedule=schedule)
    model["losses"]["pseudo"]["weight"] = 10.0
    for name in ("fore_r", "back_r"):
        model["losses"][name]["weight"] = 0.5
    model["postprocessor"]["decoder"]["num_classes"] = 5
    tree |= dict(method="gaufuse", model=model)
    tree["train"] = dict(sampling="whole", batch_size=4, epochs=epochs, lr=1e-2, grad_reduction="sum")
    return tree


def run(tree: dict, folder, resume: bool = False) -> dict:
    work_dir = WorkDir(folder, resume=resume)
    try:
        train(check_config(tree, "test"), work_dir, resume=resume, out=lambda line: None)
    finally:
        work_dir.release()
    return read_checkpoint(folder / "last.pth")["state_dict"]


def test_training_4_epochs_equals_2_and_2_resumed_across_a_refresh(dataset, tmp_path):  # noqa: F811
    straight = flat(run(tiny_gaufuse(dataset, 4), tmp_path / "straight"))
    run(tiny_gaufuse(dataset, 2), tmp_path / "resumed")
    resumed = flat(run(tiny_gaufuse(dataset, 4), tmp_path / "resumed", resume=True))
    assert straight.keys() == resumed.keys()
    values = [name for name in straight if name.endswith("latest.values")]
    assert straight[values[0]].any()
    for name, value in straight.items():
        same = torch.equal(value, resumed[name]) if isinstance(value, torch.Tensor) else value == resumed[name]
        assert same, f"{name} differs"


def test_labels_attach_to_a_host_of_another_plugin(dataset, tmp_path):  # noqa: F811
    tree = tiny_config(dataset, epochs=3)
    decoder = dict(num_classes=5, class_threshold=0.1, curve=dict(field="cas", activation="sigmoid"))
    decoder |= dict(thresholds=dict(linspace=(0.3, 0.7, 5)))
    tree["model"]["heads"]["labels"] = dict(
        type="gaufuse.PseudoLabels",
        num_columns=5,
        decoder=decoder,
        generations=[1, 2],
        schedule=[(1, "absolute", 1.0), (2, "delta", 2.0)],
    )
    tree["model"]["losses"]["pseudo"] = dict(type="gaufuse.PseudoLabelLoss", form="softmax_with_zero", weight=0.5)
    tree["model"]["postprocessor"] = dict(type="gaufuse.FusedDecoder", decoder=decoder)
    state = run(tree, tmp_path / "run")["heads.labels._extra_state"]
    assert state["made_at"] == 2
    assert state["counts"]["videos"] == len(state["latest"]["ids"]) == 12
    assert state["latest"]["values"].any()


# ---- configs ----


def shrunk(model: dict) -> dict:
    """The same model four channels wide: the published widths take seconds to build."""
    model = copy.deepcopy(model)
    model["backbone"]["channels"] = 4
    for head in model["heads"].values():
        if head and "channels" in head:
            head["channels"] = 4
    return model


@pytest.mark.parametrize("base", [None, "configs/gaufuse_synthetic.py"])
def test_every_ablation_row_builds(base, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    rows = load_rows("configs/ablations/gaufuse.yaml")
    for row in rows:
        build_model(shrunk(row.config(base).model), row.where)
    tables = " | ".join(row.paper_row for row in rows)
    assert all(f"Table 3: {half}, {kind}" in tables for half in ("training", "testing") for kind in KINDS)
    assert {row.name for row in rows if row.published} >= {"baseline", "delta", "full", "paper_profile"}


KINDS = ("Baseline", "Uniform", "Exponential", "t-distribution", "Gaussian")


def test_the_schedules_of_the_published_config_begin_together():
    for name in ("gaufuse_thumos.py", "gaufuse_anet13.py", "gaufuse_synthetic.py"):
        model = load_config(REPOSITORY / "configs" / name).model
        labels = model["heads"]["labels"]
        assert labels["generations"] == model["heads"]["memory"]["clear_at"] == model["backbone"]["dropout_in_passes"]
        assert labels["num_columns"] == model["heads"]["classifier"]["num_classes"] + 1
        assert labels["schedule"][0][0] == labels["generations"][0] + 1
        weight = model["losses"]["pseudo"]["weight"]
        assert weight["value"] * weight["factor"] ** labels["generations"][0] == pytest.approx(10)
