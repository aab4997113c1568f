"""FAC-Net's components beyond the golden files: batching, zero rows, streams, switches, shipped configs."""

from __future__ import annotations

import copy
import csv
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.helpers import REPOSITORY, shared_file
from tests.running.conftest import PROTOCOL, make_dataset
from tests.running.conftest import WIDTH as DATASET_WIDTH
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.recipes import read_tree
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config, load_config
from wtal_bench.running.optim import build_optimizer
from wtal_bench.running.run import train
from wtal_bench.running.workdir import WorkDir

WIDTH, CHANNELS, CLASSES = 6, 5, 3
CROSS_ENTROPY = "VideoCrossEntropy"
CONFIGS = REPOSITORY / "configs"


def member(width=WIDTH, scale=2.0, **trunk) -> dict:
    """One stream, small."""
    return dict(
        backbone=dict(type="fac_net.Trunk", in_channels=width, channels=CHANNELS, num_classes=CLASSES, **trunk),
        heads=dict(
            cw=dict(type="fac_net.ClassWise", video_scale_multiplier=scale, writes="cw_logits"),
            ca=dict(type="fac_net.ClassAgnostic", video_scale_multiplier=scale),
            mil=dict(type="fac_net.MultipleInstance", video_scale_multiplier=scale, writes="mil_logits"),
        ),
        losses=dict(
            cw=dict(type=CROSS_ENTROPY, reads="cw_logits", weight=1.0),
            ca=dict(type=CROSS_ENTROPY, weight=0.1),
            mil=dict(type=CROSS_ENTROPY, reads="mil_logits", target="tags_and_background", weight=0.1),
        ),
    )


def one_stream(**options) -> Model:
    torch.manual_seed(0)
    return build_model(dict(type="Localizer", **member(**options))).double()


def videos_of(lengths, width=WIDTH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(t, width, dtype=torch.float64, generator=generator).relu() for t in lengths]


def make_batch(videos, labels=None) -> Batch:
    """Pad videos [T,F]; the default tags leave the second video without any."""
    lengths = torch.tensor([len(video) for video in videos])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    if labels is None:
        labels = F.one_hot(torch.arange(len(videos)) % CLASSES, CLASSES).double()
        labels[1:2] = 0
    return Batch(
        features=torch.stack([F.pad(video, (0, 0, 0, mask.shape[1] - len(video))) for video in videos]),
        mask=mask,
        labels=labels,
        index=torch.arange(len(videos)),
        meta=tuple(VideoMeta(str(i), len(v) * 0.64, 25.0, 16, len(v)) for i, v in enumerate(videos)),
        snippet_index=torch.arange(mask.shape[1], dtype=torch.float64).repeat(len(videos), 1),
    )


def summed_gradient(model: Model, batches) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.grad_reduction = "sum"
    for batch in batches:
        model.parse_losses(model(batch))[0].backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


# ---- batching and zero rows ----


@pytest.mark.parametrize("options", [{}, {"background": False}, {"embed_kernel": 3}], ids=str)
def test_a_padded_mini_batch_equals_the_loop_over_its_videos(options):
    model = one_stream(dropout=0.0, **options)  # biases are zero, as published: masks in the softmaxes alone give NaN
    videos = videos_of((1, 9, 2, 17, 3, 40))
    batch = make_batch(videos)
    single = [make_batch([v], batch.labels[i : i + 1]) for i, v in enumerate(videos)]
    together = model.compute(batch)
    for i, alone in enumerate(single):
        for field, value in model.compute(alone).items():
            joint = together[field] if field in model.shared_fields else together[field][i : i + 1]
            timed = field not in model.shared_fields | model.video_level_fields
            joint = joint[:, : len(videos[i])] if timed else joint
            torch.testing.assert_close(joint, value, rtol=1e-12, atol=1e-12)
    losses = [model.losses(alone) for alone in single]
    for name, value in model.losses(batch).items():
        torch.testing.assert_close(value, sum(loss[name] for loss in losses) / len(videos), rtol=1e-12, atol=1e-12)
    for name, value in summed_gradient(model, [batch]).items():
        torch.testing.assert_close(value, summed_gradient(model, single)[name], rtol=1e-10, atol=1e-10)


def test_a_zero_feature_row_scores_zero_and_changes_no_other_number():
    model = one_stream(dropout=0.0)
    video, other = videos_of((8, 11))
    clean = model.compute(make_batch([video, other]))
    zeroed = video.clone()
    zeroed[3] = 0
    batch = make_batch([zeroed, other])
    dirty = model.compute(batch)
    assert not dirty["cas"][0, 3].any()
    rest = [t for t in range(8) if t != 3]
    for field in ("cas", "foreground_scores", "embedding"):
        assert torch.equal(dirty[field][0, rest], clean[field][0, rest])
        assert torch.equal(dirty[field][1], clean[field][1])
    for gradient in summed_gradient(model, [batch]).values():
        assert torch.isfinite(gradient).all()


def test_a_video_of_zeros_alone_trains_and_scores_every_class_alike():
    model = one_stream(dropout=0.0)
    batch = make_batch([torch.zeros(4, WIDTH, dtype=torch.float64)], torch.tensor([[1.0, 0, 0]]))
    assert not model.compute(batch)["video_logits"].any()
    assert all(torch.isfinite(g).all() for g in summed_gradient(model, [batch]).values())


# ---- switches ----


def test_initialisation():
    trunk = build_model(dict(type="Localizer", **member(width=40))).backbone
    assert torch.equal(trunk.fg_center, -trunk.action_centers[-1:])
    assert trunk.fg_center.data_ptr() != trunk.action_centers[-1:].data_ptr()
    for layer in (trunk.embed.fc1, trunk.embed.fc2):
        bound = math.sqrt(6 / sum(layer.weight.shape))
        assert 0.8 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()
    bound = math.sqrt(6 / (CHANNELS + CLASSES + 1))
    assert 0.5 * bound < trunk.action_centers.abs().max() <= bound
    random = build_model(dict(type="Localizer", **member(fg_init="random"))).backbone
    assert not torch.equal(random.fg_center, -random.action_centers[-1:])
    start = build_model(dict(type="Localizer", **member(fg_init="actions"))).backbone
    classes = torch.nn.functional.normalize(start.action_centers[:-1], dim=1)
    torch.testing.assert_close(start.fg_center, classes.mean(dim=0, keepdim=True))
    assert torch.equal(start.action_centers[-1:], -start.fg_center)
    bare = build_model(dict(type="Localizer", **member(background=False))).backbone
    assert bare.action_centers.shape == (CLASSES, CHANNELS)
    assert not torch.equal(bare.fg_center, -bare.action_centers[-1:])


def test_started_from_the_classes_foreground_is_what_they_say_together():
    model = one_stream(dropout=0.0, fg_init="actions")
    out = model.compute(make_batch(videos_of((9,)), torch.ones(1, CLASSES)))
    said, foreground = out["cas"][..., :-1].mean(dim=-1), out["foreground_scores"]
    torch.testing.assert_close(foreground / foreground.std(), said / said.std())


def test_video_scale_multiplier_scales_all_three_branches():
    batch = make_batch(videos_of((9, 4)))
    code, paper = one_stream(dropout=0.0).compute(batch), one_stream(dropout=0.0, scale=1.0).compute(batch)
    for field in ("cw_logits", "video_logits", "mil_logits"):
        torch.testing.assert_close(code[field], 2 * paper[field], rtol=1e-12, atol=1e-12)


def test_temperatures_keep_the_numbers_of_the_config():
    temperatures = (0.3, 1.7)
    model = one_stream(dropout=0.0, temperatures=temperatures)
    out = model.compute(make_batch(videos_of((9,)), torch.ones(1, CLASSES)))
    for h, tau in enumerate(temperatures):
        expected = torch.softmax(tau * out["cas"], dim=1)
        torch.testing.assert_close(out["class_attention"][:, :, h], expected, rtol=1e-12, atol=1e-12)
    assert out["class_features"].shape == (1, 2, CLASSES + 1, CHANNELS)


def test_a_convolutional_embedding_reads_neighbours():
    video = videos_of((9,))[0]
    changed = video.clone()
    changed[4] += 1
    for kernel, reached in ((1, {4}), (3, {2, 3, 4, 5, 6})):
        model = one_stream(dropout=0.0, embed_kernel=kernel)
        before, after = (model.compute(make_batch([v]))["embedding"][0] for v in (video, changed))
        assert set((before != after).any(dim=1).nonzero().flatten().tolist()) <= reached
        assert (before[4] != after[4]).any()


def test_embedding_is_the_one_before_dropout_and_can_be_left_out():
    batch = make_batch(videos_of((9, 5)))
    full, lean = one_stream().train(), one_stream(embedding=False).train()
    raw = []
    full.backbone.embed.fc2.register_forward_hook(lambda _, __, rows: raw.append(rows))
    outputs = []
    for model in (full, lean):
        torch.manual_seed(1)
        outputs.append(model.compute(batch))
    assert torch.equal(outputs[0]["embedding"][batch.mask], raw[0].relu())
    assert "embedding" not in outputs[1]
    assert torch.equal(outputs[0]["cas"], outputs[1]["cas"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(fg_init="neg_background"), "Did you mean 'neg_bg'"),
        (dict(temperatures=()), "temperatures must be a list of positive numbers"),
        (dict(temperatures=(1.0, 0.0)), "temperatures must be a list of positive numbers"),
        (dict(embed_kernel=2), "taps must be odd"),
        (dict(kernel=3), "no argument 'kernel'"),
    ],
)
def test_bad_settings_are_explained(options, text):
    with pytest.raises(ConfigError, match=text):
        build_model(dict(type="Localizer", **member(**options)))


# ---- two streams ----


def two_streams(names=("rgb", "flow")) -> Model:
    columns = dict(rgb=(0, WIDTH), flow=(WIDTH, 2 * WIDTH))
    decoder = load_config(CONFIGS / "fac_net_thumos.py").model["postprocessor"]
    decoder["shared"]["num_classes"] = CLASSES
    decoder["passes"] = {name: decoder["passes"][name] for name in names}
    streams = {name: columns[name] for name in names}
    return build_model(dict(type="Streams", streams=streams, member=member(), postprocessor=decoder))


def trained(names, steps=3):
    """Train with dropout; the seed of every step is set as the runner sets it."""
    torch.manual_seed(7)
    model = two_streams(names).train()
    model.grad_reduction = "sum"
    optimizer = build_optimizer(model.parameters(), load_config(CONFIGS / "fac_net_thumos.py").train)
    losses = []
    for step in range(steps):
        batch = make_batch(videos_of((5, 13, 8), width=2 * WIDTH, seed=step))
        batch = replace(batch, features=batch.features.float(), labels=batch.labels.float())
        torch.manual_seed(100 + step)
        optimizer.zero_grad()
        total, log = model.parse_losses(model(batch))
        total.backward()
        optimizer.step()
        losses.append(log)
    return model, losses


def test_training_both_streams_in_one_run_equals_two_runs_bit_for_bit():
    both, log = trained(("rgb", "flow"))
    start = two_streams().state_dict()
    for name in ("rgb", "flow"):
        alone, own_log = trained((name,))
        own = alone.state_dict()
        assert own
        for key, value in own.items():
            assert torch.equal(both.state_dict()[key], value), key
            assert not torch.equal(start[key], value), f"{key} was not trained"
        for step, losses in enumerate(own_log):
            for scalar in ("cw", "ca", "mil"):
                assert torch.equal(losses[f"{name}.{scalar}"], log[step][f"{name}.{scalar}"])
    assert not torch.equal(
        both.state_dict()["members.rgb.backbone.embed.fc1.weight"],
        both.state_dict()["members.flow.backbone.embed.fc1.weight"],
    )


def run_of(names, root, folder) -> dict[str, torch.Tensor]:
    """Weights after two epochs of the shipped training section, through the runner."""
    tree = read_tree(CONFIGS / "fac_net_synthetic.py")
    model, half = tree["model"], DATASET_WIDTH // 2
    columns = dict(rgb=(0, half), flow=(half, DATASET_WIDTH))
    model["streams"] = {name: columns[name] for name in names}
    model["member"]["backbone"].update(in_channels=half, channels=CHANNELS, num_classes=5)
    decoder = model["postprocessor"]
    decoder["shared"]["num_classes"] = 5
    decoder["passes"] = {name: decoder["passes"][name] for name in names}
    tree["data"] = dict(protocol=PROTOCOL, root=str(root))
    tree["train"]["epochs"] = 2
    tree["runtime"]["device"] = "cpu"
    work_dir = WorkDir(folder)
    train(check_config(tree, "test"), work_dir, out=lambda _: None)
    work_dir.release()
    return read_checkpoint(folder / "last.pth")["state_dict"]


def test_so_does_the_runner(tmp_path):
    root = make_dataset(tmp_path / "data")
    both = run_of(("rgb", "flow"), root, tmp_path / "both")
    alone = {**run_of(("rgb",), root, tmp_path / "rgb"), **run_of(("flow",), root, tmp_path / "flow")}
    assert set(both) == set(alone)
    for key, value in both.items():
        assert torch.equal(value, alone[key]), key


def test_a_missing_stream_is_named():
    batch = make_batch(videos_of((5, 4), width=WIDTH))
    with pytest.raises(ConfigError, match=rf"flow takes columns {WIDTH}\.\.{2 * WIDTH}.*features have {WIDTH}"):
        two_streams().double().compute(batch)


# ---- shipped files ----

TRAINABLE = sorted(path.name for path in CONFIGS.glob("fac_net_*.py"))


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_config_builds_and_trains_as_the_authors_do(name):
    config = load_config(CONFIGS / name)
    model = build_model(copy.deepcopy(config.model), name)
    assert (config.train.grad_reduction, config.train.batch_size, config.train.sampling) == ("sum", 10, "whole")
    assert tuple(config.train.betas) == (0.9, 0.99)
    assert set(model.members) == {"rgb", "flow"}
    widths = {m.backbone.embed.fc1.in_features for m in model.members.values()}
    assert widths == {end - first for first, end in model.columns.values()}
    rows = {m.backbone.action_centers.shape[0] for m in model.members.values()}
    assert rows == {config.model["postprocessor"]["shared"]["num_classes"] + 1}


ABLATIONS = CONFIGS / "ablations" / "fac_net.yaml"


def test_every_ablation_row_builds():
    rows = load_rows(ABLATIONS)
    for row in rows:
        model = copy.deepcopy(row.config(str(CONFIGS / "fac_net_thumos.py")).model)
        model["member"]["backbone"] |= dict(in_channels=4, channels=4)  # the published widths take seconds
        build_model(model, row.where)
    assert {"full", "cw", "paper_profile"} <= {row.name for row in rows}


@pytest.mark.parametrize("name", ["fac_net_anet13.py", "fac_net_synthetic.py", "fac_net_synthetic_anet.py"])
def test_the_configs_differ_in_sizes_alone(name):
    """So an ablation row that fits one fits all of them."""

    def changes(ours, theirs, path=""):
        if not isinstance(ours, dict):
            return {path} if ours != theirs else set()
        assert ours.keys() == theirs.keys()
        return set().union(*(changes(ours[key], theirs[key], key) for key in ours))

    ours, theirs = read_tree(CONFIGS / name), read_tree(CONFIGS / "fac_net_thumos.py")
    if "synthetic" in name:  # searched, or with the number of classes
        assert ours["model"]["postprocessor"]["shared"].pop("thresholds_of") == 20
        ours["model"]["postprocessor"]["shared"]["class_threshold"] = 0.1
        ours["model"]["member"]["backbone"]["dropout"] = 0.5
    sizes = {"num_classes", "in_channels", "channels", "rgb", "flow"}
    assert changes(ours["model"], theirs["model"]) <= sizes
    assert changes(ours["train"], theirs["train"]) <= {"epochs", "lr"}
    assert changes(ours["test"], theirs["test"]) <= {"evaluator"}  # that of the data set
    assert changes(ours["profiles"], theirs["profiles"]) <= {"select_by"}


def test_the_full_row_changes_nothing():
    (full,) = [row for row in load_rows(ABLATIONS) if row.name == "full"]
    assert not full.options


def test_every_published_row_of_tables_3_and_4_is_an_ablation_row():
    rows = load_rows(ABLATIONS)
    with shared_file("published.csv").open(encoding="utf-8") as file:
        published = [
            line for line in csv.reader(file) if len(line) > 7 and line[0] == "FAC-Net" and line[4] == "avg_mAP"
        ]
    found = 0
    for line in published:
        table = line[7].removeprefix("FAC-Net ")
        if table not in ("Table 3", "Table 4"):
            continue
        title = f"{table}: {line[1]}"
        (row,) = [row for row in rows if title in row.paper_row.split(" | ")]
        assert row.published["value"] == float(line[6]), title
        found += 1
    assert found == 56
