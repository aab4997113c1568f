# STPN (Nguyen, Liu, Prasad, Han; CVPR 2018) on THUMOS14. There is no authors' code: these are the settings of the
# reproduction bellos1203/STPN, whose detections give the paper's numbers within a point. Its Adam is TensorFlow's. It
# asks for 24,000 steps and runs whole epochs (706, 24,004 steps). It takes the best of the steps 22k to 25k on the test
# videos, `profile='published'` (by 0.1:0.7 and every 3 epochs from 650 on; the metric is not said); `profile='honest'`,
# the default, keeps the last epoch. Its features have 10 frames a second; ours say their own rate. Tags are those
# of the segments; its evaluator is the column `thumos_seconds_210` of the report.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'stpn'
model = dict(
    type='Streams',
    streams=dict(rgb=(0, 1024), flow=(1024, 2048)),
    member=dict(
        backbone=dict(type='RawFeatures'),
        heads=dict(
            attention=dict(type='SnippetAttention', channels=1024, hidden=256, init='xavier'),
            classifier=dict(type='stpn.Classifier', channels=1024, num_classes=20, pool='mean', init='xavier'),
            actionness=dict(type='Actionness', source='attention')),  # for ideas that rank snippets
        losses=dict(
            cls=dict(
                type='VideoCrossEntropy', form='binary_sigmoid', normalize=False, class_reduction='mean', weight=1.0),
            sparse=dict(type='Sparsity', reduction='sum', weight=1e-4))),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=20,
            scores_activation='sigmoid',
            class_threshold=0.1,
            class_test='>',
            fallback='none',
            upsample=24,
            thresholds=[0.05],
            above='>=',
            contrast=dict(outer=None)),
        passes=dict(
            rgb=dict(
                scores='rgb.video_logits',
                curve=dict(product=['rgb.attention', dict(field='rgb.cas', activation='sigmoid')]),
                score_curve=dict(
                    product=[
                        'rgb.attention',
                        dict(sum=[dict(field='rgb.cas', weight=0.5), dict(field='flow.cas', weight=0.5)])])),
            flow=dict(
                scores='flow.video_logits',
                curve=dict(product=['flow.attention', dict(field='flow.cas', activation='sigmoid')]),
                score_curve=dict(
                    product=[
                        'flow.attention',
                        dict(sum=[dict(field='rgb.cas', weight=0.5), dict(field='flow.cas', weight=0.5)])]))),
        nms=dict(iou=0.5, drop='>')))
train = dict(
    sampling=dict(type='random_segments', equal='draw'),
    length=400,
    batch_size=6,
    epochs=706,
    checkpoint_interval=3,
    optimizer='TFAdam',
    lr=1e-4)
test = dict(sampling='uniform', length=400, evaluator='thumos_seconds_210')
profiles = dict(
    published=dict(
        train=dict(selection='best_on_test', select_by='mAP@0.1:0.7', val_first=650, val_interval=3)))
