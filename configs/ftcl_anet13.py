# FTCL on ACM-Net, ActivityNet 1.3 (24.8 average mAP in the paper). There is no official code for it: ACM-Net's settings
# with J = 10 from the paper; L = 5, the loss weights and the pairs are those of THUMOS14, 4 epochs visit a video about
# as often as there (all three assumed).
_base_ = ['_base_/datasets/activitynet13.py', '_base_/runtime.py']

method = 'ftcl'
model = dict(
    type='Localizer',
    backbone=dict(type='acm_net.Embedding', in_channels=2048, channels=2048, dropout=0.7),
    heads=dict(
        attention=dict(type='acm_net.Attention', channels=2048, dropout=0.7),
        classifier=dict(
            type='acm_net.Classifier', channels=2048, num_classes=200, snippet_dropout=0.7, dropout=0.7),
        branches=dict(type='acm_net.Branches', divisors=(2, 10, 10)),
        features=dict(type='acm_net.BranchFeatures', divisors=(2, 10, 10))),
    losses=dict(
        cls_inst=dict(type='acm_net.BranchCrossEntropy', target='instance', weight=5.0),
        cls_cont=dict(type='acm_net.BranchCrossEntropy', target='context', reads='context_logits', weight=1.0),
        cls_back=dict(type='acm_net.BranchCrossEntropy', target='background', reads='background_logits', weight=1.0),
        guide=dict(type='acm_net.Guide', weight=5e-3),
        feat=dict(type='acm_net.FeatureSeparation', margin=50.0, weight=5e-5),
        sparse=dict(type='acm_net.Sparsity', weight=0.0),
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
            length=10,
            score='attention',
            loss='mean_diff',
            report_matched=True,
            weight=dict(contrast=0.1, matched=0.0))),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=200,
            class_threshold=0.1,
            class_test='>',
            fallback='argmax',
            upsample=20,
            thresholds=[0.005, 0.01, 0.015, 0.02],
            above='>=',
            min_length=2,
            zero_below=True),
        passes=dict(
            cas=dict(
                curve=dict(field='cas', activation='softmax'),
                run_share=0.7,
                score_curve=dict(field='attention', weight=0.3),
                contrast=dict(outer=0.15)),
            attention=dict(
                curve='attention',
                run_share=0.3,
                score_curve=dict(field='cas', activation='softmax', weight=0.7),
                contrast=dict(outer=0.15, video_score=0.25))),
        nms=dict(iou=0.9, offset=1.0)))
train = dict(
    sampling=dict(type='random_segments', short='resample', last='follow', frozen=True),
    length=75,
    batch_size=64,
    pairs=dict(source='dataset'),
    init_from=dict(config='configs/acm_net_anet13.py'),
    epochs=4,
    lr=1e-4,
    weight_decay=1e-3,
    selection='best_on_test',
    val_interval=1)
test = dict(sampling=dict(type='uniform', min_length=2, divide_first=True), length=75)
