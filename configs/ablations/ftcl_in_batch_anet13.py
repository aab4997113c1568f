# ACM-Net on ActivityNet 1.3 with FTCL's losses over the pairs inside a mini-batch: what FTCL starts from there.
# Assumed, as the authors publish no ActivityNet code: 500 epochs and the loss weights of THUMOS14; J = 10 is the
# paper's.
_base_ = ['../acm_net_anet13.py']

variant = 'in_batch'
model = dict(
    losses=dict(
        fsd=dict(type='ftcl.FSD', channels=2048, proj_dim=512, weight=0.8),
        lcs=dict(
            type='ftcl.LCS', rescale=dict(offset=0.8, gain=5.0), selection=dict(length=10), weight=0.1)))
train = dict(pairs=dict(source='in_batch'), epochs=500)
