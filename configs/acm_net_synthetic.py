# ACM-Net on the embedded synthetic benchmark, scaled down to train in well under two minutes on one core: 64 channels,
# 200 snippets, 150 epochs at a ten times higher learning rate. Losses, weights and dropout are the published ones of
# THUMOS14. The last epoch is kept.
_base_ = ['_base_/datasets/synthetic.py', '_base_/runtime.py']

method = 'acm_net'
model = dict(
    type='Localizer',
    backbone=dict(type='acm_net.Embedding', in_channels=128, channels=64, dropout=0.0),
    heads=dict(
        attention=dict(type='acm_net.Attention', channels=64, dropout=0.0),
        classifier=dict(
            type='acm_net.Classifier', channels=64, num_classes=10, snippet_dropout=0.7, dropout=0.7),
        branches=dict(type='acm_net.Branches', divisors=(8, 3, 3)),
        features=dict(type='acm_net.BranchFeatures', divisors=(8, 3, 3))),
    losses=dict(
        cls_inst=dict(type='acm_net.BranchCrossEntropy', target='instance', weight=1.0),
        cls_cont=dict(type='acm_net.BranchCrossEntropy', target='context', reads='context_logits', weight=1.0),
        cls_back=dict(type='acm_net.BranchCrossEntropy', target='background', reads='background_logits', weight=1.0),
        guide=dict(type='acm_net.Guide', weight=2e-3),
        feat=dict(type='acm_net.FeatureSeparation', margin=50.0, weight=5e-5),
        sparse=dict(type='acm_net.Sparsity', weight=2e-4)),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=10,
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
    length=200,
    batch_size=16,
    epochs=150,
    lr=1e-3,
    weight_decay=5e-5)
test = dict(sampling=dict(type='uniform', min_length=2, divide_first=True), length=200)
