# ECM (Zhao et al.) on the embedded synthetic benchmark: the released settings, scaled down to 64 channels, 200 snippets
# and 120 epochs at a five times higher rate, so that it trains in under two minutes on two cores. Rate, thresholds and
# the bar for a class are the best of eight trials on another world (`searches/ecm.yaml`, README of the plugin).
_base_ = ['ecm_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64),
    heads=dict(pre=dict(channels=64, num_classes=10), weights=dict(num_classes=10)),
    postprocessor=dict(num_classes=10, class_threshold=0.1, thresholds=dict(arange=(0.1, 0.95, 0.1))))
train = dict(length=200, epochs=120, lr=1e-3)
test = dict(length=200)
