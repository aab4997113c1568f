# ECM (Zhao et al.) on THUMOS14, the released settings. `profile='published'` made 29.1 mAP@0.5: the epoch that is best
# on the test videos by mAP@0.5 (their log: 29.13 at epoch 139), scored in seconds on 210 videos. `profile='honest'`,
# the default, keeps the last epoch (28.16 in that log).
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'ecm'
model = dict(
    type='Localizer',
    backbone=dict(type='ecm.Trunk', in_channels=2048, channels=2048),
    heads=dict(
        pre=dict(type='ecm.PreClassification', channels=2048, num_classes=20, topk_ratio=0.125, dropout=0.5),
        weights=dict(type='ecm.Weights', num_classes=20, source='transition'),
        post=dict(type='ecm.PostClassification', fold_mode='stride', agg_norm='none', dropout=0.5),
        absence=dict(
            type='ecm.AbsenceClassification', background='official', fold_mode='stride', agg_norm='none', dropout=0.5)),
    losses=dict(
        cls_pre=dict(type='VideoCrossEntropy'),
        cls_post=dict(type='VideoCrossEntropy', reads='post_logits'),
        c2c=dict(type='ecm.ScoreConsistency', space='logit', weight=0.05),
        a2c=dict(type='ecm.AggregationConsistency', prob='softmax_2c', weight=5.0)),
    postprocessor=dict(
        type='ThresholdDecoder',
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
        nms=dict(iou=0.6, offset=1.0)))
train = dict(sampling='uniform', length=750, batch_size=16, epochs=150, lr=2e-4, weight_decay=5e-4)
test = dict(
    sampling='uniform', length=750, frame_accuracy=dict(threshold=0.25), evaluator='thumos_seconds_210')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.5', val_interval=1)))
