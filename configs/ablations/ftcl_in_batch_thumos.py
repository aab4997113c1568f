# ACM-Net on THUMOS14 with FTCL's losses over the pairs inside a mini-batch, 500 epochs: what the command of FTCL's
# authors for their baseline trains when it is not told otherwise, and what FTCL starts from. LCS's similarity is
# rescaled in this path alone. Their copy of ACM-Net picks the best epoch on the test videos by 0.1:0.7
# (`profile='published'`).
_base_ = ['../acm_net_thumos.py']

variant = 'in_batch'
model = dict(
    losses=dict(
        fsd=dict(type='ftcl.FSD', channels=2048, proj_dim=512, weight=0.8),
        lcs=dict(type='ftcl.LCS', rescale=dict(offset=0.8, gain=5.0), weight=0.1)))
train = dict(pairs=dict(source='in_batch'), epochs=500)
profiles = dict(published=dict(train=dict(select_by='mAP@0.1:0.7')))
