# BGES + TEN (Li et al.) on ActivityNet 1.2: lambda 0.02, otherwise the settings of THUMOS14. Length 60 is a multiple of
# k; width, taps, dropout, batch, iterations and the test path are not in the paper (see the plugin's README).
# `profile='published'` (assumed, see bges_ten_thumos.py) keeps what is best on the test videos by the average,
# `profile='honest'`, the default, the last.
_base_ = ['bges_ten_thumos.py', '_base_/datasets/activitynet12.py']

model = dict(
    backbone=dict(num_classes=100), losses=dict(bg=dict(weight=0.02)), postprocessor=dict(num_classes=100))
train = dict(length=60)
profiles = dict(published=dict(train=dict(select_by='average')))
