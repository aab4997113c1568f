# STPN + embedding on THUMOS14, the host of FAC-Net's Table 5 and of GauFuse's. Neither paper defines it; here FAC-Net's
# embedding module stands before everything, in each stream; the rest is STPN's recipe. Other readings: `layers=1` and
# `kernel=3`.
_base_ = ['stpn_thumos.py']

variant = 'embedding'
model = dict(
    member=dict(
        backbone=dict(replace=True, type='LayeredEmbedding', in_channels=1024, channels=1024, layers=2, dropout=0.5),
        heads=dict(
            attention=dict(reads='dropped_embedding'),
            classifier=dict(reads=dict(embedding='dropped_embedding')))))
