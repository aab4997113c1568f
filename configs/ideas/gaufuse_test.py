# GauFuse at test alone: the host's candidates are fused by Gaussian weighting where it suppresses them. Training stays
# the host's. The paper does not say how its Table 5 takes candidates from other hosts: the wiring is ours.
from typing import Literal


def idea(
    host,
    temperature=0.2,
    thresholds: Literal['auto', 'host', 'many'] = 'auto',
    contrast: Literal['gaufuse', 'host'] = 'gaufuse'):
    """All candidates of all thresholds and passes, fused once per class.

    temperature: 0.2 (code) or 0.03 (paper).
    thresholds: 'auto' (the host's, or 20 where it has a single one), 'host' or 'many'.
    contrast: how candidates are scored: 'gaufuse' (outer-inner, without the video's score), or as the 'host' does.
    """
    ring = dict(outer=0.0785, power=0.9, ring='inside') if contrast == 'gaufuse' else None
    decoder = dict(
        _delete_=True,
        type='gaufuse.FusedDecoder',
        decoder=host.candidates(thresholds, ring),
        fusion=dict(temperature=temperature))
    return dict(model=dict(postprocessor=decoder))
