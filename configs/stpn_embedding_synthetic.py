# STPN + embedding on the embedded synthetic benchmark: STPN's settings there, with 64 hidden channels a stream. Rate,
# dropout, thresholds and bar are the best of twelve trials on another world (`searches/stpn_embedding.yaml`).
_base_ = ['stpn_synthetic.py']

variant = 'embedding'
model = dict(
    postprocessor=dict(shared=dict(thresholds=[0.05])),
    member=dict(
        backbone=dict(replace=True, type='LayeredEmbedding', in_channels=64, channels=64, layers=2, dropout=0.3),
        heads=dict(
            attention=dict(reads='dropped_embedding'),
            classifier=dict(reads=dict(embedding='dropped_embedding')))))
train = dict(lr=1e-3)
