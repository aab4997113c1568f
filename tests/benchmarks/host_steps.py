"""Training steps of the hosts like their authors': padded rows computed like real ones, one video and pair at a time.

Convolutions run over [B,D,T], the top k come of whole sorts, curves are smoothed and eroded by SciPy on the host. Every
step is (parameters under our names, batch) -> its loss, with nothing dropped out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from wtal_bench.interfaces import Batch

Parameters = dict[str, Tensor]
Step = Callable[[Parameters, Batch], Tensor]


def conv(x: Tensor, p: Parameters, name: str, taps: int = 3) -> Tensor:
    """A temporal convolution over [B,D,T]."""
    weight = p[f"{name}.weight"]
    weight = weight.unsqueeze(-1) if weight.dim() == 2 else weight
    return F.conv1d(x, weight, p.get(f"{name}.bias"), padding=taps // 2)


def sorted_mean(x: Tensor, k: int) -> Tensor:
    """[B,T,C] -> [B,C] by a whole sort."""
    return x.sort(dim=1, descending=True).values[:, :k].mean(dim=1)


def softmax_bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of softmax scores [B,C] with normalised targets."""
    return F.binary_cross_entropy(logits.softmax(dim=1), target / target.sum(dim=1, keepdim=True))


def two_streams(step: Callable[..., Tensor]) -> Step:
    """A step of each stream, on its own columns."""

    def both(p: Parameters, batch: Batch) -> Tensor:
        width = batch.features.shape[2] // 2
        columns = {"rgb": batch.features[:, :, :width], "flow": batch.features[:, :, width:]}
        return sum(step(p, f"members.{name}.heads", x, batch.labels) for name, x in columns.items())

    return both


def attention_of(p: Parameters, heads: str, x: Tensor) -> Tensor:
    """[B,T,1] two layers and a sigmoid."""
    hidden = F.relu(F.linear(x, p[f"{heads}.attention.fc1.weight"], p[f"{heads}.attention.fc1.bias"]))
    return torch.sigmoid(F.linear(hidden, p[f"{heads}.attention.fc2.weight"], p[f"{heads}.attention.fc2.bias"]))


@two_streams
def stpn(p: Parameters, heads: str, x: Tensor, labels: Tensor) -> Tensor:
    """STPN's step."""
    attention = attention_of(p, heads, x)
    pooled = (attention * x).mean(dim=1)
    logits = F.linear(pooled, p[f"{heads}.classifier.cls.weight"], p[f"{heads}.classifier.cls.bias"])
    return F.binary_cross_entropy_with_logits(logits, labels) + 1e-4 * attention.sum(dim=(1, 2)).mean()


@two_streams
def bm(p: Parameters, heads: str, x: Tensor, labels: Tensor) -> Tensor:
    """BM's step; the guide is smoothed video by video on the host."""
    weight, bias = p[f"{heads}.classifier.cls.weight"], p[f"{heads}.classifier.cls.bias"]
    attention = attention_of(p, heads, x)
    x_fg = (attention * x).sum(dim=1) / (attention.sum(dim=1) + 1)
    x_bg = ((1 - attention) * x).sum(dim=1) / ((1 - attention).sum(dim=1) + 1e-6)
    target = labels / labels.sum(dim=1, keepdim=True)
    fg = -(F.pad(target, (0, 1)) * F.log_softmax(F.linear(x_fg, weight, bias), dim=1)).sum(dim=1).mean()
    bg = -F.log_softmax(F.linear(x_bg, weight, bias), dim=1)[:, -1].mean()
    scores = F.softmax(F.linear(x.detach(), weight.detach()), dim=2).cpu().numpy()
    guide = []
    for row, tags in enumerate(labels):
        smooth = torch.from_numpy(ndimage.gaussian_filter1d(scores[row], 1.0, axis=0, mode="reflect", truncate=4.0))
        high = smooth[:, :-1][:, tags > 0].max(dim=1).values
        own = attention[row, :, 0]
        guide.append((own - high).abs().mean() + (own - (1 - smooth[:, -1])).abs().mean())

    def gap(value: Tensor, near: str, far: str) -> Tensor:
        weights = [p[f"{heads}.clusters.{name}.weight"] for name in (near, far)]
        biases = [p[f"{heads}.clusters.{name}.bias"] for name in (near, far)]
        return F.linear(value, weights[0], biases[0]) - F.linear(value, weights[1], biases[1])

    cluster = F.softplus(-gap(x_fg, "fg", "bg")).mean() + F.softplus(-gap(x_bg, "bg", "fg")).mean()
    return fg + 0.03 * bg + 0.1 * torch.stack(guide).mean() + 0.3 * cluster


def um(p: Parameters, batch: Batch) -> Tensor:
    """UM's step, nothing dropped."""
    x = F.relu(conv(batch.features.permute(0, 2, 1), p, "backbone.embed.conv"))
    cas = conv(x, p, "heads.classifier.cls", 1).permute(0, 2, 1)
    x = x.permute(0, 2, 1)
    act, bkg = max(1, x.shape[1] // 9), max(1, x.shape[1] // 4)
    norm = x.norm(p=2, dim=2)

    def rows(score: Tensor, count: int) -> Tensor:
        return score.sort(dim=1, descending=True, stable=True).indices[:, :count].unsqueeze(2)

    chosen, away = rows(norm, act), rows(norm.max(dim=1, keepdim=True).values - norm, bkg)
    action = x.gather(1, chosen.expand(-1, -1, x.shape[2])).mean(dim=1)
    background = x.gather(1, away.expand(-1, -1, x.shape[2])).mean(dim=1)
    low = cas.gather(1, away.expand(-1, -1, cas.shape[2])).mean(dim=1)
    cls, be = softmax_bce(sorted_mean(cas, act), batch.labels), softmax_bce(low, torch.ones_like(batch.labels))
    length = (F.relu(100 - action.norm(dim=1)) + background.norm(dim=1)) ** 2
    return cls + be + 5e-4 * length.mean()


def cola(p: Parameters, batch: Batch) -> Tensor:
    """CoLA's step."""
    x, labels = batch.features, batch.labels
    embedding = F.relu(conv(x.permute(0, 2, 1), p, "backbone.embed.conv")).permute(0, 2, 1)
    cas = F.relu(conv(embedding.permute(0, 2, 1), p, "heads.classifier.cls.conv", 1)).permute(0, 2, 1)
    length = x.shape[1]
    easy, hard = max(1, length // 5), max(1, length // 20)
    actionness = cas.sum(dim=2)

    def rows(score: Tensor, k: int) -> Tensor:
        index = score.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return embedding.gather(1, index.unsqueeze(2).expand(-1, -1, embedding.shape[2]))

    host = actionness.detach().cpu().numpy()
    above = host > np.median(host, axis=1, keepdims=True)

    def each(rule: Callable[..., np.ndarray], width: int) -> np.ndarray:
        return np.array([rule(row, np.ones(width)) for row in above])

    inner = each(ndimage.binary_erosion, 3) & ~each(ndimage.binary_erosion, 6)
    outer = each(ndimage.binary_dilation, 6) & ~each(ndimage.binary_dilation, 3)
    ea, eb = rows(actionness, easy), rows(actionness.max(dim=1, keepdim=True).values - actionness, easy)
    ha, hb = (rows(actionness * torch.from_numpy(ring), hard) for ring in (inner, outer))

    def contrast(query: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        query, positive = F.normalize(query.mean(1), dim=1), F.normalize(positive.mean(1), dim=1)
        negative = F.normalize(negative.permute(0, 2, 1), dim=1)
        near = torch.einsum("nc,nc->n", query, positive).unsqueeze(-1)
        far = torch.einsum("nc,nck->nk", query, negative)
        logits = torch.cat([near, far], dim=1) / 0.07
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))

    snico = contrast(ha, ea, eb) + contrast(hb, eb, ea)
    return softmax_bce(sorted_mean(cas, easy), labels) + 0.01 * snico


def basnet(p: Parameters, batch: Batch) -> Tensor:
    """BaS-Net's step: two calls of the whole trunk."""
    x, labels = batch.features.permute(0, 2, 1), batch.labels
    k = max(1, x.shape[2] // 8)
    hidden = F.leaky_relu(conv(x, p, "backbone.filter1", 1), 0.01)
    weights = torch.sigmoid(conv(hidden, p, "backbone.filter2", 1))

    def trunk(features: Tensor) -> Tensor:
        made = F.leaky_relu(conv(features, p, "backbone.conv1"), 0.01)
        made = F.leaky_relu(conv(made, p, "backbone.conv2"), 0.01)
        return conv(made, p, "heads.cls.cls", 1).permute(0, 2, 1)

    base, suppressed = sorted_mean(trunk(x), k), sorted_mean(trunk(weights * x), k)
    losses = softmax_bce(base, F.pad(labels, (0, 1), value=1.0)) + softmax_bce(suppressed, F.pad(labels, (0, 1)))
    return losses + 1e-4 * weights.squeeze(1).sum(dim=1).mean()


def co_activity(videos: list[Tensor], scores: list[Tensor], labels: Tensor) -> Tensor:
    """The co-activity loss of rows (0, 1), (2, 3), ...: [T,E] and [T,K] of every video, tags [B,K]."""
    total, count = 0.0, 0.0
    for first in range(0, len(videos), 2):
        pair = []
        for x, logits in zip(videos[first : first + 2], scores[first : first + 2]):
            share = F.softmax(logits, dim=0)
            pair.append((x.T @ share, x.T @ (1 - share) / (len(share) - 1)))
        (h1, l1), (h2, l2) = pair
        d, d1, d2 = (1 - (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)) for a, b in ((h1, h2), (h1, l2), (h2, l1)))
        shared = labels[first] * labels[first + 1]
        total = total + 0.5 * ((F.relu(d - d1 + 0.5) + F.relu(d - d2 + 0.5)) * shared).sum()
        count = count + shared.sum()
    return total / count


def wtalc(p: Parameters, batch: Batch) -> Tensor:
    """W-TALC: the padded batch through the network, then one video and one pair at a time."""
    lengths = batch.lengths.tolist()
    x = F.relu(F.linear(batch.features, p["backbone.fc1.weight"], p["backbone.fc1.bias"]))
    logits = F.linear(x, p["heads.classifier.cls.weight"], p["heads.classifier.cls.bias"])
    pooled = [logits[row, :n].topk(-(-n // 8), dim=0).values.mean(dim=0) for row, n in enumerate(lengths)]
    target = batch.labels / batch.labels.sum(dim=1, keepdim=True)
    mil = -(target * F.log_softmax(torch.stack(pooled), dim=1)).sum(dim=1).mean()
    paired = list(enumerate(lengths))[: batch.pairs.numel()]
    own, scores = [x[row, :n] for row, n in paired], [logits[row, :n] for row, n in paired]
    return 0.5 * mil + 0.5 * co_activity(own, scores, batch.labels)


def co2net(p: Parameters, batch: Batch) -> Tensor:
    """CO2-Net's step: one pair of videos at a time."""
    x, labels = batch.features, batch.labels
    rgb, flow = x.permute(0, 2, 1).chunk(2, dim=1)

    def act(value: Tensor) -> Tensor:
        return F.leaky_relu(value, 0.2)

    def gate(name: str, main: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        summary = act(conv(F.adaptive_avg_pool1d(main, 1), p, f"backbone.{name}.summary"))
        made = torch.sigmoid(summary * act(conv(other, p, f"backbone.{name}.local.conv"))) * main
        hidden = act(conv(act(conv(made, p, f"backbone.{name}.att1.conv")), p, f"backbone.{name}.att2.conv"))
        return made, torch.sigmoid(conv(hidden, p, f"backbone.{name}.att3", 1))

    made_rgb, att_rgb = gate("rgb", rgb, flow)
    made_flow, att_flow = gate("flow", flow, rgb)
    attention = ((att_rgb + att_flow) / 2).permute(0, 2, 1)
    embedding = act(conv(torch.cat([made_rgb, made_flow], dim=1), p, "backbone.fusion", 1))
    cas = conv(act(conv(embedding, p, "heads.classifier.cls1.conv")), p, "heads.classifier.cls2", 1).permute(0, 2, 1)
    embedding = embedding.permute(0, 2, 1)
    lowest = cas.min(dim=2, keepdim=True).values
    suppressed = attention * (cas - lowest) + lowest
    k = max(1, x.shape[1] // 7)

    def mil(scores: Tensor, target: Tensor) -> Tensor:
        target = target / (target.sum(dim=1, keepdim=True) + 1e-4)
        logits = scores.topk(k, dim=1).values.mean(dim=1)
        return -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()

    coact = co_activity(list(embedding[:6]), list(suppressed[:6]), F.pad(labels, (0, 1)))
    att_rgb, att_flow = att_rgb.permute(0, 2, 1), att_flow.permute(0, 2, 1)
    mutual = 0.5 * F.mse_loss(att_rgb, att_flow.detach()) + 0.5 * F.mse_loss(att_flow, att_rgb.detach())
    three = (attention, att_rgb, att_flow)
    background = cas.softmax(dim=2)[..., -1:]
    norm = sum(a.mean() for a in three) / 3
    guide = sum((1 - a - background).abs().mean() for a in three) / 3
    return (
        mil(cas, F.pad(labels, (0, 1), value=1.0))
        + mil(suppressed, F.pad(labels, (0, 1)))
        + coact
        + mutual
        + 0.8 * norm
        + 0.8 * guide
    )


STEPS: dict[str, Step] = dict(stpn=stpn, bm=bm, wtalc=wtalc, um=um, cola=cola, basnet=basnet, co2net=co2net)
