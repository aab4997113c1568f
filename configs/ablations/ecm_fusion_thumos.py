# ECM Table 5: two single-stream models trained side by side, then
# the union of their instances before one NMS.
_base_ = ['../_base_/datasets/thumos14.py', '../_base_/runtime.py']

method = 'ecm'
variant = 'fusion_merge'
model = dict(
    type='Streams',
    streams=dict(pre=None, post=None),
    member=dict(
        backbone=dict(type='ecm.Trunk', in_channels=2048, channels=2048),
        heads=dict(
            pre=dict(type='ecm.PreClassification', channels=2048, num_classes=20, topk_ratio=0.125, dropout=0.5)),
        losses=dict(cls=dict(type='VideoCrossEntropy'))),
    overrides=dict(
        post=dict(
            heads=dict(
                weights=dict(type='ecm.Weights', num_classes=20, source='self', in_channels=2048),
                post=dict(type='ecm.PostClassification', fold_mode='stride', agg_norm='none', dropout=0.5)),
            losses=dict(cls=dict(reads='post_logits')))),
    postprocessor=dict(
        type='PooledDecoder',
        passes=dict(
            pre=dict(curve='pre.cas', scores='pre.video_logits'),
            post=dict(curve='post.cas', scores='post.post_logits')),
        shared=dict(
            num_classes=20,
            class_threshold=0.25,
            normalize='rectified',
            upsample='frames',
            thresholds=dict(arange=(0.01, 0.2, 0.025)),
            above='>=',
            positive=True,
            lone_first_sample='drop',
            zero_below=True,
            contrast=dict(outer=0.4, ring='exclusive', video_score=0.15),
            time='fps',
        ),
        nms=dict(iou=0.6, offset=1.0)))
train = dict(sampling='uniform', length=750, batch_size=16, epochs=150, lr=2e-4, weight_decay=5e-4)
test = dict(sampling='uniform', length=750, evaluator='thumos_seconds_210')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.5', val_interval=1)))
