# ACM-Net on ActivityNet 1.3, the authors' settings. `profile='published'` made 24.6 average mAP: the epoch that is best
# on the test videos among 1, 3, 5, ..., the ones they score. `profile='honest'`, the default, keeps the last epoch. The
# number of epochs is the one of THUMOS14; the authors' code gives no other. Their lists name 9032 training and 4427
# test videos, the protocol has 9649 and 4728: `data.only=FILE` (their split_train.txt and split_test.txt in one file of
# ids) trains and tests on theirs; the test videos left out count as missed.
_base_ = ['acm_net_thumos.py', '_base_/datasets/activitynet13.py']

model = dict(
    backbone=dict(dropout=0.7),
    heads=dict(
        attention=dict(dropout=0.7),
        classifier=dict(num_classes=200),
        branches=dict(divisors=(2, 10, 10)),
        features=dict(divisors=(2, 10, 10))),
    losses=dict(cls_inst=dict(weight=5.0), guide=dict(weight=5e-3), sparse=dict(weight=0.0)),
    postprocessor=dict(
        shared=dict(
            _delete_=True,
            num_classes=200,
            class_threshold=0.1,
            class_test='>',
            fallback='argmax',
            upsample=20,
            thresholds=[0.005, 0.01, 0.015, 0.02],
            above='>=',
            min_length=2,
            zero_below=True),
        passes=dict(
            _delete_=True,
            cas=dict(
                curve=dict(field='cas', activation='softmax'),
                run_share=0.7,
                score_curve=dict(field='attention', weight=0.3),
                contrast=dict(outer=0.15)),
            attention=dict(
                curve='attention',
                run_share=0.3,
                score_curve=dict(field='cas', activation='softmax', weight=0.7),
                contrast=dict(outer=0.15, video_score=0.25))),
        nms=dict(iou=0.9)))
train = dict(length=75, batch_size=64, weight_decay=1e-3)
test = dict(length=75)
profiles = dict(published=dict(train=dict(select_by='average', val_first=1, val_interval=2)))
