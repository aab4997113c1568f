# BM + embedding on the embedded synthetic benchmark: BM's settings there, with 64 hidden channels a stream. Dropout
# and the bar for a class, too, are the best of twelve trials on another world (`searches/bm_embedding.yaml`).
_base_ = ['bm_synthetic.py']

variant = 'embedding'
model = dict(
    postprocessor=dict(class_threshold=0.1),
    member=dict(
        backbone=dict(replace=True, type='LayeredEmbedding', in_channels=64, channels=64, layers=2, dropout=0.5),
        heads=dict(
            attention=dict(reads='dropped_embedding'),
            classifier=dict(reads=dict(embedding='dropped_embedding')))))
