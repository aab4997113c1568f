# FTCL's FSD and LCS on RSKP: pairs within each mini-batch, ranked by RSKP's attention, gathered from its embedding.
_base_ = ['../rskp_synthetic.py']

variant = 'ftcl'
model = dict(
    backbone=dict(embedding=True),
    losses=dict(
        fsd=dict(type='ftcl.FSD', channels=256, proj_dim=32, weight=0.8), lcs=dict(type='ftcl.LCS', weight=0.1)))
train = dict(pairs=dict(source='in_batch'))
