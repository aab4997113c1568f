# BGES: the background loss of Li et al. on a host with a background class and an attention; the whole video's attention
# learns from it. The paper has no such table: the wiring is ours.
from typing import Literal


def idea(
    host,
    scale_weights=True,
    weight=0.1,
    norm: Literal['nf', 'nb', 'nf_const'] = 'nf',
    attention: Literal['host', 'norm', 'softmax_max'] = 'host',
    background: Literal['host', 'zero'] = 'host'):
    """The host's batches, optimiser and schedule, from the start on.

    scale_weights: `weight` times what a class weighs in the host's own classification loss.
    norm: 'nf' is BGES, 'nb' the plain background loss it is compared with.
    attention: 'host', or 'norm' or 'softmax_max' for one derived where the host has none.
    background: 'host', or 'zero' to append a logit fixed at 0 where the host has no such class.
    """
    share = host.class_weight if scale_weights else 1.0
    reads = dict(attention=host.attention(attention), cas=host.with_background(background))
    loss = dict(type='bges_ten.BackgroundLoss', norm=norm, reads=reads, weight=weight * share)
    return dict(model=dict(losses=dict(bges=loss)))
