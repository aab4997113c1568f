# RSKP on the embedded synthetic benchmark. The schedule is scaled down from 200 epochs to 60 (memory from epoch 31
# on), the width from 2048 to 256 channels, and the rate raised, so that it trains in well under two minutes on one
# core. Rate, length and dropout are the best of twelve trials on another world (`searches/rskp.yaml`).
_base_ = ['rskp_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=256, dropout=0.4),
    heads=dict(
        classifier=dict(channels=256, num_classes=10),
        propagation=dict(channels=256),
        memory=dict(channels=256, num_classes=10, start=31)),
    losses=dict(
        fore_r=dict(weight=dict(steps=[(0, 0.0), (31, 0.5)])),
        back_r=dict(weight=dict(steps=[(0, 0.0), (31, 0.1)])),
        spl=dict(weight=dict(steps=[(0, 1.0), (31, 0.5)]))),
    postprocessor=dict(num_classes=10))
train = dict(epochs=60, lr=1e-2)
