# GauFuse on RSKP on ActivityNet 1.3. No ActivityNet code is published: these are the THUMOS14 settings with 200 classes
# and the paper's mini-batch of 128 videos. So are the profiles: both keep the last epoch, `published` scores the test
# videos every 5 epochs besides.
_base_ = ['gaufuse_thumos.py', '_base_/datasets/activitynet13.py']

model = dict(
    heads=dict(classifier=dict(num_classes=200), memory=dict(num_classes=200), labels=dict(num_columns=201)),
    postprocessor=dict(decoder=dict(num_classes=200)))
train = dict(batch_size=128)
