# FAC-Net on synthetic videos with the time lines of ActivityNet 1.3 (few, long instances): that the ActivityNet config
# runs in that shape. 256 channels, 20 epochs at a rate of 1e-3; all else as in fac_net_anet13.py, so UNCONFIRMED too.
_base_ = ['fac_net_synthetic.py', '_base_/datasets/synthetic_anet.py']

model = dict(member=dict(backbone=dict(num_classes=20)), postprocessor=dict(shared=dict(num_classes=20)))
train = dict(epochs=20)
profiles = dict(published=dict(train=dict(select_by='average')))
