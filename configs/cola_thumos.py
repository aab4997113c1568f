# CoLA on THUMOS14, the released code's settings (41.7 average mAP; the paper prints 40.9). The authors score the
# 210 test videos of `thumos_seconds_210` every 100 steps and keep the best of the 60 by 0.1:0.7: `profile='published'`.
# `profile='honest'`, the default, keeps the last step. Tags are the segments'
# labels.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'cola'
model = dict(
    type='Localizer',
    backbone=dict(type='ConvEmbedding', in_channels=2048, channels=2048, kernel=3),
    heads=dict(
        classifier=dict(type='cola.Classifier', channels=2048, num_classes=20, dropout=0.7),
        pool=dict(type='TopKMean', divisor=5),
        mining=dict(
            type='cola.Mining', easy_divisor=5, hard_divisor=20, inner_width=3, outer_width=6, dropout=0.6)),
    losses=dict(
        cls=dict(type='VideoCrossEntropy', form='binary_softmax', class_reduction='mean'),
        snico=dict(type='cola.SnippetContrast', temperature=0.07, weight=0.01)),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=20,
            class_threshold=0.2,
            fallback='argmax',
            normalize='rectified_clip',
            upsample=24,
            above='>=',
            positive=True,
            min_length=2,
            contrast=dict(outer=0.25, video_score=0.2)),
        passes=dict(
            cas=dict(curve='cas', thresholds=dict(arange=(0.0, 0.25, 0.025)), zero_below=True),
            actionness=dict(
                curve='actionness', score_curve='cas', thresholds=dict(arange=(0.1, 0.925, 0.025)))),
        nms=dict(iou=0.6, offset=1.0)))
train = dict(
    sampling='random_segments',
    length=750,
    batch_size=16,
    iterations=6000,
    lr=1e-4,
    weight_decay=5e-4,
    checkpoint_interval=100)
test = dict(sampling=dict(type='uniform', min_length=1), length=750, evaluator='thumos_seconds_210')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.1:0.7', val_interval=100)))
