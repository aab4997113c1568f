# BGES on ACM-Net: its background loss reads the instance CAS and the instance attention.
_base_ = ['../acm_net_synthetic.py+bges']
