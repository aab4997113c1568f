# STPN + embedding on the embedded synthetic benchmark: STPN's settings there, with 64 hidden channels a stream
# and the thresholds that are best of eight trials on another world (`searches/stpn_embedding.yaml`): STPN's published.
_base_ = ['stpn_synthetic.py']

variant = 'embedding'
model = dict(
    postprocessor=dict(shared=dict(class_threshold=0.1, thresholds=[0.05])),
    member=dict(
        backbone=dict(replace=True, type='LayeredEmbedding', in_channels=64, channels=64, layers=2, dropout=0.5),
        heads=dict(
            attention=dict(reads='dropped_embedding'),
            classifier=dict(reads=dict(embedding='dropped_embedding')))))
