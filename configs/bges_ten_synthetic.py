# BGES + TEN (Li et al.) on the embedded synthetic benchmark: the THUMOS14 settings, scaled down to 64 channels a
# stream, 200 snippets and 1200 iterations so that it trains in under two minutes on one core. lambda is 0.2, not 0.1:
# with 0.1 the background logit turns negative here, and BGES then drives the attention to 1 everywhere (README).
# Rates, length, dropout and thresholds are the best of twelve trials on another world (`searches/bges_ten.yaml`).
_base_ = ['bges_ten_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(streams=dict(rgb=(0, 64), flow=(64, 128)), channels=64, num_classes=10, dropout=0.3),
    losses=dict(bg=dict(weight=0.2)),
    postprocessor=dict(num_classes=10, thresholds=dict(linspace=(0.05, 0.95, 19))))
train = dict(length=200, iterations=1200, lr_schedule=[(300, 1e-4)], checkpoint_interval=200)
