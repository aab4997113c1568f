# CoLA on ActivityNet 1.2, the settings of the authors' branch `anet12`: wider kernels, a smoothed class activation
# sequence, other divisors and thresholds. They keep the best of the tests made every 500 steps by
# the average, `profile='published'`; `profile='honest'`, the default, keeps the last step.
_base_ = ['cola_thumos.py', '_base_/datasets/activitynet12.py']

model = dict(
    backbone=dict(kernel=9),
    heads=dict(
        classifier=dict(num_classes=100, taps=9, smooth_taps=7, smooth_dilation=2),
        pool=dict(divisor=10),
        mining=dict(easy_divisor=10, hard_divisor=8)),
    losses=dict(snico=dict(weight=0.005)),
    postprocessor=dict(
        shared=dict(num_classes=100, class_threshold=0.1),
        passes=dict(cas=dict(thresholds=dict(arange=(0.0, 0.15, 0.015))))))
train = dict(length=50, batch_size=256, iterations=100000, checkpoint_interval=500)
test = dict(length=50)
profiles = dict(published=dict(train=dict(select_by='average', val_interval=500)))
