# FSD + LCS: FTCL's two losses on pairs of videos (Table 5 of Gao et al.). They train the host's embedding; the test
# path stays the host's. The paper gives no setting for other hosts: the wiring is ours.
from typing import Literal


def idea(
    host,
    scale_weights=True,
    schedule: Literal['warm_start', 'joint'] = 'warm_start',
    epochs=25,
    pairs: Literal['auto', 'dataset', 'in_batch', 'host'] = 'auto',
    score: Literal['auto', 'attention', 'relu_sum', 'softmax_max', 'norm'] = 'auto',
    gather: Literal['plain', 'weighted'] = 'plain',
    tau=0.92,
    lengths=(5, 30),
    proj_dim=512):
    """Rank every video's snippets by how much action they show, compare sequences of pairs of videos.

    scale_weights: the published 0.8 and 0.1 times what a class weighs in the host's own classification loss.
    schedule: 'warm_start' (the host by its own recipe, then `epochs` at its learning rate), or 'joint' from the start.
    pairs: 'dataset' (the fixed list of pairs), 'in_batch', 'host' (its own batches of pairs of one class, and as many
        pairs that share none), or 'auto': 'host' where it has such batches, else 'dataset'.
    score: what ranks snippets: 'auto' (the host's actionness or attention, else the sum over classes of relu(cas)), or
        a source of the head `Actionness`.
    gather: 'plain', or 'weighted' by the score, which lets the gradient reach what makes that.
    tau: of LCS; 'quantile:0.9' for features of another scale than ACM-Net's, on which 0.92 was tuned.
    lengths: L of FSD, J of LCS.
    """
    share = host.class_weight if scale_weights else 1.0
    reads = dict(attention=host.actionness(score))
    fsd = dict(
        type='ftcl.FSD',
        channels=host.channels,
        proj_dim=proj_dim,
        selection=dict(length=lengths[0], gather=gather),
        reads=reads,
        weight=0.8 * share)
    lcs = dict(
        type='ftcl.LCS',
        tau=tau,
        selection=dict(length=lengths[1], gather=gather),
        reads=reads,
        report_matched=True,
        weight=dict(contrast=0.1 * share, matched=0.0))
    if pairs == 'host' or (pairs == 'auto' and host.pairs):
        train = dict(pairs=dict(negatives=True)) if host.pairs == 'by_class' else {}
    else:
        train = dict(pairs=dict(_delete_=True, source='dataset' if pairs == 'auto' else pairs))
    if schedule == 'warm_start':
        train |= host.continued(epochs)
    return dict(model=dict(losses=dict(fsd=fsd, lcs=lcs)), train=train)
