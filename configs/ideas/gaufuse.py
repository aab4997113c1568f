# GauFuse: pseudo labels from the host's own fused detections, remade while it trains on, and fusion at test (Table 5 of
# Zhou et al.: fusion + LinPro + delta). The paper gives no setting for other hosts: the wiring is ours.
from typing import Literal


def idea(
    host,
    scale_weights=True,
    schedule: Literal['warm_start', 'joint'] = 'warm_start',
    epochs=150,
    test: Literal['fusion', 'host'] = 'fusion',
    form: Literal['auto', 'softmax', 'softmax_with_zero', 'sigmoid'] = 'auto',
    thresholds: Literal['auto', 'host', 'many'] = 'auto',
    contrast: Literal['gaufuse', 'host'] = 'gaufuse',
    label_background=False,
    gate_by_label=False,
    temperature=0.2):
    """Labels are made on whole videos in eval mode and gathered at the snippets a batch has sampled.

    scale_weights: the published 10 (growing by 1.035 an epoch to 50) times what a class weighs in the host's own loss.
    schedule: 'warm_start' (the host by its own recipe, then `epochs` more), or 'joint' (one run, the host's epochs and
        then `epochs` more; for hosts that count epochs). The published offsets are scaled to `epochs`.
    test: 'fusion', or the 'host' decoder as it is.
    form: p under the labels: 'auto' (softmax over the host's cas; without a background class over [cas, 0]), 'softmax',
        'softmax_with_zero' or 'sigmoid'.
    thresholds, contrast, temperature: of the candidates and of the fusion at test, see gaufuse_test.py.
    label_background: whether the background column is decoded and labelled too, as the authors' code does on RSKP.
    gate_by_label: whether only a video's tags are labelled; the authors' code does not look at them.
    """
    share = host.class_weight if scale_weights else 1.0
    ring = dict(outer=0.0785, power=0.9, ring='inside') if contrast == 'gaufuse' else None
    background = host.background
    candidates = host.candidates(thresholds, ring, stream=True, every_column=label_background and background)
    begin = 0 if schedule == 'warm_start' else host.epochs
    pace = epochs / 150

    def at(offset):
        return begin + round(offset * pace)

    labels = dict(
        type='gaufuse.PseudoLabels',
        num_columns=host.columns,
        decoder=candidates,
        generations=[at(offset) for offset in (0, 30, 45, 60, 75, 100)],
        temperatures=[0.02, 0.02, 0.02, 0.002, 0.002, 0.0016],
        schedule=[(at(1), 'absolute', 1.0), (at(51), 'delta', 2.0), (at(101), 'delta', 2.15)],
        gate_by_label=gate_by_label)
    pseudo = dict(
        type='gaufuse.PseudoLabelLoss',
        form=('softmax' if background else 'softmax_with_zero') if form == 'auto' else form,
        weight=dict(
            schedule='geometric', value=10 * share, factor=1.035 ** (1 / pace), start=begin, maximum=50 * share))
    model = dict(heads=dict(labels=labels), losses=dict(pseudo=pseudo))
    if test == 'fusion':
        model['postprocessor'] = dict(
            _delete_=True,
            type='gaufuse.FusedDecoder',
            decoder=host.candidates(thresholds, ring),
            fusion=dict(temperature=temperature))
    if schedule == 'warm_start':
        train = host.continued(epochs, [(0, 0.5), (at(45), 0.0128), (at(60), 0.0064)])
    else:
        train = dict(epochs=host.epochs + epochs)
    return dict(model=model, train=train)
