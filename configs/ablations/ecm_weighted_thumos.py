# ECM Table 5: two single-stream models trained side by side, then
# the weighted sum of their curves and of their class scores.
_base_ = ['ecm_fusion_thumos.py']

variant = 'fusion_weighted'
model = dict(
    postprocessor=dict(
        _delete_=True,
        type='ThresholdDecoder',
        scores={'pre.video_logits': 0.4, 'post.post_logits': 0.6},
        curve=dict(
            sum=[
                dict(field='pre.cas', normalize='rectified', weight=0.4),
                dict(field='post.cas', normalize='rectified', weight=0.6)]),
        num_classes=20,
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
