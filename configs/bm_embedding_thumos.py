# BM + embedding on THUMOS14, for ideas that act on an embedding alone: FAC-Net's module before everything, in each
# stream, as in STPN + embedding. No paper says that its BM has one; the rest is BM's recipe.
_base_ = ['bm_thumos.py']

variant = 'embedding'
model = dict(
    member=dict(
        backbone=dict(replace=True, type='LayeredEmbedding', in_channels=1024, channels=1024, layers=2, dropout=0.5),
        heads=dict(
            attention=dict(reads='dropped_embedding'),
            classifier=dict(reads=dict(embedding='dropped_embedding')))))
