# FTCL on ACM-Net, THUMOS14, the path the authors' README runs (43.6 average mAP): ACM-Net first (500 epochs), then 25
# epochs on the fixed list of 861 + 861 pairs. The epoch that is best on the test videos is kept, in both.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'ftcl'
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
        cls_inst=dict(type='acm_net.BranchCrossEntropy', target='instance', weight=1.0),
        cls_cont=dict(type='acm_net.BranchCrossEntropy', target='context', reads='context_logits', weight=1.0),
        cls_back=dict(type='acm_net.BranchCrossEntropy', target='background', reads='background_logits', weight=1.0),
        guide=dict(type='acm_net.Guide', weight=2e-3),
        feat=dict(type='acm_net.FeatureSeparation', margin=50.0, weight=5e-5),
        sparse=dict(type='acm_net.Sparsity', weight=2e-4),
        fsd=dict(
            type='ftcl.FSD',
            channels=2048,
            proj_dim=512,
            activation='none',
            smoothmax='scaled',
            gamma=10.0,
            length=5,
            background='next',
            score='attention',
            loss='mean_diff',
            weight=0.8),
        lcs=dict(
            type='ftcl.LCS',
            tau=0.92,
            strict=True,
            rescale=None,
            length=30,
            score='attention',
            loss='mean_diff',
            report_matched=True,
            weight=dict(contrast=0.1, matched=0.0))),
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
    sampling=dict(type='random_segments', short='resample', last='follow', frozen=True),
    length=750,
    batch_size=16,
    pairs=dict(source='dataset'),
    init_from=dict(config='configs/acm_net_thumos.py', options=['train.epochs=500']),
    epochs=25,
    lr=1e-4,
    weight_decay=5e-5,
    selection='best_on_test',
    val_interval=1)
test = dict(sampling=dict(type='uniform', min_length=2, divide_first=True), length=750)
