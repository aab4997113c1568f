# GauFuse on ACM-Net: labels made from its own detections in epochs 30, 40 and 50, and fused detections at test.
_base_ = ['../acm_net_synthetic.py']

variant = 'gaufuse'
_candidates = dict(
    num_classes=10,
    class_threshold=0.25,
    fallback='argmax',
    curve=dict(field='cas', activation='softmax'),
    thresholds=dict(relative=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
    min_length=2,
    contrast=dict(outer=0.2))
model = dict(
    heads=dict(
        labels=dict(
            type='gaufuse.PseudoLabels',
            num_columns=11,
            decoder=_candidates,
            generations=[30, 40, 50],
            temperatures=[0.1, 0.02, 0.02],
            schedule=[(31, 'absolute', 1.0), (46, 'delta', 2.0)],
            gate_by_label=True)),
    losses=dict(
        pseudo=dict(
            type='gaufuse.PseudoLabelLoss', weight=dict(schedule='steps', steps=[(0, 0.0), (31, 1.0)]))),
    postprocessor=dict(
        _delete_=True, type='gaufuse.FusedDecoder', decoder=_candidates, fusion=dict(temperature=0.2)))
