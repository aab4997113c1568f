# RSKP on ActivityNet 1.3. No ActivityNet code is published: these are the THUMOS14 settings with 200 classes and
# GauFuse's mini-batch of 128 videos. So are the profiles: `published` keeps the best epoch on the test videos, `honest`
# (default) the last one.
_base_ = ['rskp_thumos.py', '_base_/datasets/activitynet13.py']

model = dict(
    heads=dict(classifier=dict(num_classes=200), memory=dict(num_classes=200)),
    postprocessor=dict(num_classes=200))
train = dict(batch_size=128)
profiles = dict(published=dict(train=dict(select_by='average')))
