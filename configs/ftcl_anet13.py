# FTCL on ACM-Net, ActivityNet 1.3 (24.8 average mAP in the paper). There is no official code for it: ACM-Net's settings
# with J = 10 and mini-batches of 16 from the paper, read as 16 pairs (32 videos) a step, which is what it means in the
# code for THUMOS14. Assumed: L = 5, the loss weights, the pairs and the start of THUMOS14, and 4 epochs, which visit a
# video about as often as there. `profile='published'` keeps the epoch that is best on the test videos, as the authors
# do on THUMOS14 (assumed here); `profile='honest'`, the default, the last one.
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
    init_from=dict(config='ablations/ftcl_in_batch_anet13.py'),
    batch_size=16,
    epochs=4)
profiles = dict(published=dict(train=dict(val_first=None, val_interval=1)))
