# FAC-Net on ActivityNet 1.3. UNCONFIRMED: the paper prints results (Table 2) but neither it nor the authors' code gives
# the settings. These are those of THUMOS14, with 200 classes; expect no published number from them. Both profiles are
# THUMOS14's too: `published` keeps each stream's best epoch on the test videos, `honest` (default) the last of both.
_base_ = ['fac_net_thumos.py', '_base_/datasets/activitynet13.py']

model = dict(member=dict(backbone=dict(num_classes=200)), postprocessor=dict(shared=dict(num_classes=200)))
profiles = dict(published=dict(train=dict(select_by='average')))
