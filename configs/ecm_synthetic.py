# ECM (Zhao et al.) on the embedded synthetic benchmark: the released settings, scaled down to 64 channels, 200
# snippets and 240 epochs at a higher rate, so that it trains in about two minutes on one core. Rate and length are the
# best of twelve trials on another world (`searches/ecm.yaml`, README of the plugin), which kept dropout, thresholds
# and bar.
_base_ = ['ecm_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64),
    heads=dict(pre=dict(channels=64, num_classes=10), weights=dict(num_classes=10)),
    postprocessor=dict(num_classes=10))
train = dict(length=200, epochs=240, lr=3e-3)
test = dict(length=200)
