# FAC-Net's class-wise branch on ACM-Net, a host of ours: what `acm_net_synthetic+cw` is.
_base_ = ['../acm_net_synthetic.py+cw']
