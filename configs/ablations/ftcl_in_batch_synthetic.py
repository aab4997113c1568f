# ACM-Net on the synthetic benchmark with FTCL's losses over the pairs inside a mini-batch: what FTCL starts from there.
# LCS's similarity is rescaled in this path alone.
_base_ = ['../acm_net_synthetic.py']

variant = 'in_batch'
model = dict(
    losses=dict(
        fsd=dict(type='ftcl.FSD', channels=64, proj_dim=32, weight=0.8),
        lcs=dict(type='ftcl.LCS', rescale=dict(offset=0.8, gain=5.0), weight=0.1)))
train = dict(epochs=150, pairs=dict(source='in_batch'))
profiles = dict(published=dict(train=dict(select_by='mAP@0.1:0.7')))
