# CW: FAC-Net's class-wise foreground branch (Table 5 of Huang, Wang, Li). It trains the host's classifier and its
# embedding; the test path stays the host's. Neither paper nor code says how it is attached: the wiring is ours.
from typing import Literal


def idea(
    host,
    scale_weights=True,
    weight=1.0,
    cas_source: Literal['host_cosine', 'host_logits', 'own'] = 'host_cosine',
    fg_tie=False,
    fg_init: Literal['neg_bg', 'random'] = 'neg_bg'):
    """The host's batches, optimiser and schedule, from the start on.

    scale_weights: `weight` times what a class weighs in the host's own classification loss.
    cas_source: what the attention over time is made of: 'host_cosine' (the embedding against the host's classifier
        rows), 'host_logits' (the host's cas), 'own' (new centres, which shape the embedding alone).
    fg_tie: also FAC-Net's class-agnostic branch (weight 0.1), where W_f takes its foreground meaning from there.
    """
    if cas_source == 'host_cosine':
        host.need(
            'class_weights',
            "The attention can be made without them: cas_source='host_logits' (of `cas`) or 'own' (new centres).")
    share = host.class_weight if scale_weights else 1.0
    losses = dict(cw=dict(type='VideoCrossEntropy', reads='cw_logits', weight=weight * share))
    if fg_tie:
        losses['ca'] = dict(type='VideoCrossEntropy', reads='ca_logits', weight=0.1 * weight * share)
    branch = dict(
        type='fac_net.ClassWiseOnHost',
        channels=host.channels,
        num_classes=host.num_classes,
        background=host.background,
        cas_source=cas_source,
        fg_init=fg_init,
        fg_tie=fg_tie)
    return dict(model=dict(heads=dict(cw=branch), losses=losses))
