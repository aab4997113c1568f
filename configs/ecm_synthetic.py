# ECM (Zhao et al.) on the embedded synthetic benchmark: the released settings, scaled down to 64 channels, 200 snippets
# and 120 epochs at a five times higher rate, so that it trains in under two minutes on two cores. Epochs and rate
# were chosen on another world (seed 1), never on the videos it is tested on.
_base_ = ['ecm_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64),
    heads=dict(pre=dict(channels=64, num_classes=10), weights=dict(num_classes=10)),
    postprocessor=dict(num_classes=10))
train = dict(length=200, epochs=120, lr=1e-3)
test = dict(length=200)
