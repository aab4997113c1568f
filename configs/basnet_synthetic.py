# BaS-Net on the embedded synthetic benchmark: the settings of THUMOS14 with 64 channels (32 for the foreground
# weights) and 200 snippets, at a higher rate, so that it trains in about a minute on one core. The weight of the norm,
# a sum over snippets, grows with the 750 / 200 fewer of them. Rate, length and the class head's dropout are the best
# of twelve trials on another world (`searches/basnet.yaml`), which kept the thresholds.
_base_ = ['basnet_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64, filter_channels=32),
    heads=dict(cls=dict(channels=64, num_classes=10, dropout=0.5)),
    losses=dict(norm=dict(weight=3.75e-4)),
    postprocessor=dict(num_classes=10))
train = dict(length=200, iterations=1000, lr=3e-3)
test = dict(length=200)
