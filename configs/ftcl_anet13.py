# FTCL on ACM-Net, ActivityNet 1.3 (24.8 average mAP in the paper). There is no official code for it: ACM-Net's settings
# with J = 10 from the paper; L = 5, the loss weights and the pairs are those of THUMOS14, 4 epochs visit a video about
# as often as there (all three assumed).
_base_ = ['acm_net_anet13.py']

method = 'ftcl'
model = dict(
    losses=dict(
        fsd=dict(
            type='ftcl.FSD',
            channels=2048,
            proj_dim=512,
            activation='none',
            smoothmax='scaled',
            gamma=10.0,
            selection=dict(length=5, background='next', score='attention'),
            loss='mean_diff',
            weight=0.8),
        lcs=dict(
            type='ftcl.LCS',
            tau=0.92,
            strict=True,
            rescale=None,
            selection=dict(length=10, score='attention'),
            loss='mean_diff',
            report_matched=True,
            weight=dict(contrast=0.1, matched=0.0))))
train = dict(
    sampling=dict(frozen=True),
    pairs=dict(source='dataset'),
    init_from=dict(config='acm_net_anet13.py'),
    epochs=4,
    val_interval=1)
