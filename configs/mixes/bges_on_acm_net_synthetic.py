# BGES on ACM-Net: its background loss reads the instance CAS and the instance attention.
_base_ = ['../acm_net_synthetic.py']

variant = 'bges'
model = dict(losses=dict(bges=dict(type='bges_ten.BackgroundLoss', norm='nf', weight=0.1)))
