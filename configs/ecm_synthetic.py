# ECM (Zhao et al.) on the embedded synthetic benchmark: the official profile, scaled down to 64 channels, 200 snippets
# and 120 epochs at a five times higher rate, so that it trains in under two minutes on two cores. Epochs and rate
# were chosen on another world (seed 1), never on the videos it is tested on.
_base_ = ['_base_/datasets/synthetic.py', '_base_/runtime.py']

method = 'ecm'
model = dict(
    type='Localizer',
    backbone=dict(type='ecm.Trunk', in_channels=128, channels=64),
    heads=dict(
        pre=dict(type='ecm.PreClassification', channels=64, num_classes=10, topk_ratio=0.125, dropout=0.5),
        weights=dict(type='ecm.Weights', num_classes=10, source='transition'),
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
        num_classes=10,
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
train = dict(sampling='uniform', length=200, batch_size=16, epochs=120, lr=1e-3, weight_decay=5e-4)
test = dict(sampling='uniform', length=200, frame_accuracy=dict(threshold=0.25))
