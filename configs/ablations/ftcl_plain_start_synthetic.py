# FTCL on the synthetic benchmark, started from plain ACM-Net and a random projection.
_base_ = ['../ftcl_synthetic.py']

variant = 'plain_start'
train = dict(init_from=dict(config='../acm_net_synthetic.py', options=['train.epochs=150']))
