# ECM Table 5, synthetic: two single-stream models trained side by side, then
# the weighted sum of their curves and of their class scores.
_base_ = ['ecm_weighted_thumos.py', '../_base_/datasets/synthetic.py']

model = dict(
    member=dict(backbone=dict(in_channels=128, channels=64), heads=dict(pre=dict(channels=64, num_classes=10))),
    overrides=dict(post=dict(heads=dict(weights=dict(num_classes=10, in_channels=128)))),
    postprocessor=dict(num_classes=10))
train = dict(length=200, epochs=80, lr=2e-3)
test = dict(length=200)
