# UM (Lee, Wang, Lu, Byun; AAAI 2021; WUM in some tables) on THUMOS14, the settings of the last state of the authors'
# repository. Their number is the best of 10,000 tests on the test videos, one after every step, by 0.1:0.7:
# `profile='published'`. `profile='honest'`, the default, keeps the last step. Their tags are those of the
# segments, their evaluator is the column `thumos_seconds_210` of the report.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'um'
model = dict(
    type='Localizer',
    backbone=dict(type='ConvEmbedding', in_channels=2048, channels=2048),
    heads=dict(
        classifier=dict(type='SnippetClassifier', channels=2048, num_classes=20, bias=False, dropout=0.7),
        mil=dict(type='TopKMean', divisor=9),
        magnitude=dict(type='um.Magnitude', r_act=9, r_bkg=4),
        selection=dict(type='um.Selection', r_act=9, r_bkg=4, dropout=0.7)),
    losses=dict(
        cls=dict(type='VideoCrossEntropy', form='binary_softmax', class_reduction='mean', weight=1.0),
        be=dict(
            type='VideoCrossEntropy',
            reads='background_logits',
            target='uniform',
            form='binary_softmax',
            class_reduction='mean',
            weight=1.0),
        um=dict(type='um.Uncertainty', margin=100.0, weight=5e-4)),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=20,
            class_threshold=0.2,
            fallback='argmax',
            upsample=24,
            above='>=',
            min_length=2,
            contrast=dict(outer=0.25, video_score=0.2)),
        passes=dict(
            cas=dict(
                curve=dict(
                    product=[dict(field='cas', activation='softmax'), 'attention'], normalize='rectified_clip'),
                thresholds=dict(arange=(0.0, 0.25, 0.025)),
                positive=True,
                zero_below=True),
            magnitude=dict(
                curve='attention',
                score_curve=dict(
                    product=[dict(field='cas', activation='softmax'), 'attention'], normalize='rectified_clip'),
                thresholds=dict(arange=(0.4, 0.625, 0.025)))),
        nms=dict(iou=0.6, offset=1.0)))
train = dict(
    sampling='random_segments',
    length=750,
    batch_size=16,
    iterations=10_000,
    checkpoint_interval=250,
    lr=1e-4,
    weight_decay=5e-4)
test = dict(sampling=dict(type='uniform', min_length=1), length=750, evaluator='thumos_seconds_210')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.1:0.7', val_interval=1)))
