"""The verb `new-plugin`: a plugin package that trains and passes its tests from the first minute."""

from __future__ import annotations

import argparse
import keyword
import re
import shutil
import tempfile
from pathlib import Path

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import API_VERSION

SUMMARY = "Write a plugin package: one head, one loss, one config, tests that are green at once."
EXAMPLE = "python tools/new_plugin.py my_idea --out ../my_idea && pip install -e ../my_idea && pytest ../my_idea"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", help="the plugin's name: lower-case letters, digits, underscores")
    parser.add_argument("--out", help="folder to write (default: ./NAME)")


def run(args: argparse.Namespace) -> int:
    """Write the package and say what to do with it."""
    name = args.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} is no plugin name: use lower-case letters, digits and underscores, e.g. my_idea.")
    folder = Path(args.out or name)
    if folder.exists():
        raise ConfigError(f"{folder} already exists; choose another --out.")
    write_plugin(name, folder)
    print(f"written {folder}. Next:")
    print(f"  pip install -e {folder}")
    print(f"  pytest {folder}")
    print(f"  wtal-bench train {folder}/configs/{name}_synthetic.py")
    return 0


def write_plugin(name: str, folder: Path) -> None:
    """Write the package in one step: complete, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        draft = Path(scratch) / "draft"
        for path, text in TEMPLATES.items():
            target = draft / path.replace("NAME", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(
                text.replace("NAME", name).replace("API_VERSION_HERE", str(API_VERSION)), encoding="utf-8"
            )
        shutil.move(draft, folder)


TEMPLATES = {
    "pyproject.toml": """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "NAME"
version = "0.1.0"
description = "A wtal-bench plugin."
requires-python = ">=3.10"
dependencies = ["wtal-bench"]

[project.entry-points."wtal_bench.plugins"]
NAME = "NAME"

[tool.setuptools]
packages = ["NAME"]
""",
    "README.md": """# NAME

A wtal-bench plugin: a head that gates the embedding (`NAME.Gate`) and a loss that keeps it sparse
(`NAME.Sparsity`).

    pip install -e .
    pytest
    wtal-bench train configs/NAME_synthetic.py
""",
    "NAME/__init__.py": '''"""A wtal-bench plugin. Discovery imports this module: keep it light."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = API_VERSION_HERE


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.backbone("NAME.Embedding", "NAME.components:Embedding")
    registrar.head("NAME.Gate", "NAME.components:Gate")
    registrar.loss("NAME.Sparsity", "NAME.components:Sparsity")
    registrar.example("NAME.gated", "NAME.examples:gated")
''',
    "NAME/components.py": '''"""Components of NAME. B videos, T snippets, D features, E embedding, C classes."""

import torch
from torch import Tensor, nn

from wtal_bench.interfaces import Backbone, Batch, Head, Loss, Outputs
from wtal_bench.modeling.blocks import TemporalConv, masked_mean, topk_count, topk_mean, zero_padding


class Embedding(nn.Module, Backbone):
    """One temporal convolution (k=3) and ReLU: features [B,T,D] -> `embedding` [B,T,E].

    Args:
        in_channels, channels: D and E.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = TemporalConv(in_channels, channels)

    def forward(self, features: Tensor, mask: Tensor) -> Outputs:
        """[B,T,D], [B,T] -> fields."""
        return {"embedding": zero_padding(torch.relu(self.conv(features, mask)), mask)}


class Gate(nn.Module, Head):
    """Classifies gated snippets: `attention` [B,T] in 0..1, `cas` [B,T,C], `video_logits` [B,C] (top-k mean).

    Args:
        channels, num_classes: E and C.
        dropout: on the embedding, training only.
    """

    requires = ("embedding",)
    provides = ("attention", "cas", "video_logits")
    video_level = ("video_logits",)

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, 1)
        self.classifier = nn.Linear(channels, num_classes, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields. Mask every reduction over time: padding must change nothing."""
        embedding = outputs["embedding"]
        attention = zero_padding(torch.sigmoid(self.gate(embedding)).squeeze(-1), batch.mask)
        cas = self.classifier(self.dropout(embedding)) * attention.unsqueeze(-1)
        video_logits = topk_mean(cas, batch.mask, topk_count(batch.mask, divisor=8))
        return {"attention": attention, "cas": cas, "video_logits": video_logits}


class Sparsity(Loss):
    """Mean attention of the real snippets, mean over videos: {"sparsity": 0-d}."""

    requires = ("attention",)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """[B,T] -> scalar."""
        return {"sparsity": masked_mean(outputs["attention"], batch.mask).mean()}
''',
    "NAME/examples.py": '''"""A tiny model for the contract suite."""

from wtal_bench.testing import Example


def gated() -> Example:
    """Every component of the plugin in one model."""
    return Example(
        model=dict(
            type="Localizer",
            backbone=dict(type="NAME.Embedding", in_channels=8, channels=6),
            heads=dict(gate=dict(type="NAME.Gate", channels=6, num_classes=3)),
            losses=dict(cls=dict(type="VideoCrossEntropy"), sparse=dict(type="NAME.Sparsity", weight=0.1)),
            postprocessor=dict(
                type="ThresholdDecoder", num_classes=3, normalize="rectified", thresholds=[0.3, 0.5], nms=dict(iou=0.5)
            ),
        )
    )
''',
    "configs/NAME_synthetic.py": """# NAME on the embedded synthetic benchmark (10 classes, 2 x 64 features).
method = 'NAME'
model = dict(
    type='Localizer',
    backbone=dict(type='NAME.Embedding', in_channels=128, channels=64),
    heads=dict(gate=dict(type='NAME.Gate', channels=64, num_classes=10, dropout=0.5)),
    losses=dict(cls=dict(type='VideoCrossEntropy'), sparse=dict(type='NAME.Sparsity', weight=0.1)),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=10,
        class_threshold=0.1,
        normalize='rectified',
        upsample=8,
        thresholds=dict(linspace=(0.1, 0.9, 9)),
        contrast=dict(outer=0.25, video_score=0.2),
        nms=dict(iou=0.5)))
data = dict(protocol='synthetic/v1', synthetic=dict(profile='demo', world=0), resident='ram')
train = dict(sampling='uniform', length=200, batch_size=16, epochs=30, lr=1e-3, weight_decay=5e-4)
test = dict(sampling='uniform', length=200)
""",
    "tests/test_NAME.py": '''"""The contract every component obeys, and what is special to NAME."""

import pytest
import torch

from NAME.components import Sparsity
from wtal_bench.testing import assert_contract, contract_cases, random_batch, uncovered_components


@pytest.mark.parametrize("case", contract_cases("NAME"), ids=lambda case: case.id)
def test_contract(case):
    assert_contract(case)


def test_every_component_is_part_of_an_example():
    assert uncovered_components("NAME") == []


def test_sparsity_is_the_mean_attention_of_real_snippets():
    batch = random_batch([4, 2])
    attention = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.5, 0.5, 9.0, 9.0]], dtype=torch.float64)
    assert Sparsity()({"attention": attention}, batch)["sparsity"].item() == pytest.approx(0.5)
''',
}
"""Path -> text; NAME is replaced in both."""
