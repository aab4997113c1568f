# CO2-Net on ActivityNet 1.2, the settings of the authors' `run.sh`: shorter samples, curves averaged over 13 snippets.
# Their videos of 10 snippets or fewer form pairs alone and are not tested; here they are videos like any other. They
# keep the best on the test videos by the average (`profile='published'`), scored on snippets, here in seconds; the
# default, `profile='honest'`, keeps the last step.
_base_ = ['co2net_thumos.py', '_base_/datasets/activitynet12.py']

model = dict(
    backbone=dict(pool=13),
    heads=dict(
        classifier=dict(num_classes=100, pool=13), pool=dict(divisor=5), supp_pool=dict(divisor=5)),
    postprocessor=dict(num_classes=100))
train = dict(length=60, iterations=22000, lr=3e-5, weight_decay=5e-4)
profiles = dict(published=dict(train=dict(select_by='average')))
