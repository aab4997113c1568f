# FTCL on THUMOS14, started from plain ACM-Net (500 epochs) and a random projection, not as the authors' README does.
_base_ = ['../ftcl_thumos.py']

variant = 'plain_start'
train = dict(init_from=dict(config='../acm_net_thumos.py', options=['train.epochs=500']))
