"""W-TALC: the authors' network on the padded batch, then `MILL` video by video and `CASL` pair by pair."""

from __future__ import annotations

from torch import Tensor, nn

from tests.benchmarks.authors import Checkout, Step
from tests.benchmarks.foreign import stand_ins
from wtal_bench.interfaces import Batch

RECIPE = "wtalc_thumos"
CHECKOUT = "sujoyp/wtalc-pytorch"
FILES = ("train.py", "model.py", "options.py")
MARK = ("train.py", "def CASL(")
NAMES = {
    "backbone.fc1.weight": "fc.weight",
    "backbone.fc1.bias": "fc.bias",
    "heads.classifier.cls.weight": "classifier.weight",
    "heads.classifier.cls.bias": "classifier.bias",
}


def step(checkout: Checkout, model: nn.Module, batch: Batch) -> Step:
    """The middle of their `train`, whose lengths are counted in the features before they move to the GPU."""
    with stand_ins("tensorboard_logger", "video_dataset", "classificationMAP", "utils"):
        network = checkout.module("model").Model(batch.features.shape[2], batch.labels.shape[1])
        program = checkout.module("train")
    args = checkout.module("options").parser.parse_args([])
    lengths, device = batch.lengths.cpu().numpy(), batch.features.device
    features, labels = batch.features[:, : lengths.max()], batch.labels

    def loss() -> Tensor:
        final_features, element_logits = network(features)
        mil = program.MILL(element_logits, lengths, args.batch_size, labels, device)
        cas = program.CASL(final_features, element_logits, lengths, args.num_similar, labels, device)
        return args.Lambda * mil + (1 - args.Lambda) * cas

    return Step(network, loss, NAMES)
