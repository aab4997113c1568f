# ECM Table 5, synthetic: two single-stream models trained side by side, then
# the weighted sum of their curves and of their class scores.
_base_ = ['../_base_/datasets/synthetic.py', '../_base_/runtime.py']

method = 'ecm'
variant = 'fusion_weighted'
model = dict(
    type='Streams',
    streams=dict(pre=None, post=None),
    member=dict(
        backbone=dict(type='ecm.Trunk', in_channels=128, channels=64),
        heads=dict(
            pre=dict(type='ecm.PreClassification', channels=64, num_classes=10, topk_ratio=0.125, dropout=0.5)),
        losses=dict(cls=dict(type='VideoCrossEntropy'))),
    overrides=dict(
        post=dict(
            heads=dict(
                weights=dict(type='ecm.Weights', num_classes=10, source='self', in_channels=128),
                post=dict(type='ecm.PostClassification', fold_mode='stride', agg_norm='none', dropout=0.5)),
            losses=dict(cls=dict(reads='post_logits')))),
    postprocessor=dict(
        type='ThresholdDecoder',
        scores={'pre.video_logits': 0.4, 'post.post_logits': 0.6},
        curve=dict(
            sum=[
                dict(field='pre.cas', normalize='rectified', weight=0.4),
                dict(field='post.cas', normalize='rectified', weight=0.6)]),
        num_classes=10,
        class_threshold=0.25,
        upsample='frames',
        thresholds=dict(arange=(0.01, 0.2, 0.025)),
        above='>=',
        positive=True,
        lone_first_sample='drop',
        zero_below=True,
        contrast=dict(outer=0.4, ring='exclusive', video_score=0.15),
        time='fps',
        nms=dict(iou=0.6, offset=1.0)))
train = dict(sampling='uniform', length=200, batch_size=16, epochs=80, lr=2e-3, weight_decay=5e-4)
test = dict(sampling='uniform', length=200)
