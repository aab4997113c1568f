# ACM-Net on THUMOS14, the authors' settings. `profile='published'` made 42.6 average mAP (0.1:0.7): the epoch that is
# best on the test videos by the mean over 0.1:0.9, which is what their program prints. `profile='honest'`, the default,
# keeps the last epoch.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'acm_net'
model = dict(
    type='Localizer',
    backbone=dict(type='acm_net.Embedding', in_channels=2048, channels=2048, dropout=0.0),
    heads=dict(
        attention=dict(type='acm_net.Attention', channels=2048, dropout=0.0),
        classifier=dict(
            type='acm_net.Classifier', channels=2048, num_classes=20, snippet_dropout=0.7, dropout=0.7),
        branches=dict(type='acm_net.Branches', divisors=(8, 3, 3)),
        features=dict(type='acm_net.BranchFeatures', divisors=(8, 3, 3))),
    losses=dict(
        cls_inst=dict(type='VideoCrossEntropy', target='tags', log_eps=1e-10, weight=1.0),
        cls_cont=dict(
            type='VideoCrossEntropy',
            reads='context_logits',
            target='tags_and_background',
            log_eps=1e-10,
            weight=1.0),
        cls_back=dict(
            type='VideoCrossEntropy', reads='background_logits', target='background', log_eps=1e-10, weight=1.0),
        guide=dict(type='acm_net.Guide', weight=2e-3),
        feat=dict(type='acm_net.FeatureSeparation', margin=50.0, weight=5e-5),
        sparse=dict(type='acm_net.Sparsity', weight=2e-4)),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=20,
            class_threshold=0.25,
            class_test='>',
            fallback='argmax',
            upsample=20,
            above='>=',
            min_length=2,
            contrast=dict(outer=0.2)),
        passes=dict(
            cas=dict(curve=dict(field='cas', activation='softmax'), thresholds=[0.15, 0.2], zero_below=True),
            attention=dict(
                curve='attention',
                score_curve=dict(field='cas', activation='softmax'),
                thresholds=dict(arange=(0.15, 1.0, 0.05)))),
        nms=dict(iou=0.55, offset=1.0)))
train = dict(
    sampling=dict(type='random_segments', short='resample', last='follow'),
    length=750,
    batch_size=16,
    epochs=1000,
    lr=1e-4,
    weight_decay=5e-5)
test = dict(
    sampling=dict(type='uniform', min_length=2, divide_first=True), length=750, evaluator='thumos_seconds_210_of_212')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.1:0.9', val_interval=1)))
