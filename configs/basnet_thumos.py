# BaS-Net on THUMOS14, the authors' settings (35.3 average mAP). They score the 210 test videos of `thumos_seconds_210`
# after every one of the 1500 steps and keep the best by the mean over tIoU 0.1:0.9; after the first epoch each of their
# batches is the first one of a new permutation: `profile='published'` does both. `profile='honest'`, the default, keeps
# ordinary epochs and its last step. Tags are the segments' labels.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'basnet'
model = dict(
    type='Localizer',
    backbone=dict(type='basnet.Trunk', in_channels=2048, channels=2048, filter_channels=512),
    heads=dict(
        cls=dict(
            type='SnippetClassifier', channels=2048, num_classes=20, background=True, bias=False, dropout=0.7),
        base=dict(type='basnet.BaseBranch', dropout=0.7),
        pool=dict(type='TopKMean', divisor=8),
        base_pool=dict(type='TopKMean', divisor=8, reads='base_cas', writes='base_video_logits')),
    losses=dict(
        base=dict(
            type='VideoCrossEntropy',
            reads='base_video_logits',
            target='tags_and_background',
            form='binary_softmax',
            class_reduction='mean'),
        supp=dict(type='VideoCrossEntropy', target='tags', form='binary_softmax', class_reduction='mean'),
        norm=dict(type='Sparsity', reduction='sum', weight=1e-4)),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=20,
        class_threshold=0.25,
        normalize='rectified',
        upsample=24,
        thresholds=dict(arange=(0.0, 0.25, 0.025)),
        above='>=',
        positive=True,
        zero_below=True,
        contrast=dict(outer=0.25, video_score=0.2, video_score_binary=True),
        nms=dict(iou=0.7, offset=1.0)))
train = dict(
    sampling='random_segments',
    length=750,
    batch_size=16,
    iterations=1500,
    lr=1e-4,
    weight_decay=5e-4,
    checkpoint_interval=100)
test = dict(sampling='uniform', length=750, evaluator='thumos_seconds_210')
profiles = dict(
    published=dict(
        train=dict(selection='best_on_test', select_by='mAP@0.1:0.9', val_interval=1, shuffle='fresh')))
