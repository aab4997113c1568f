# CO2-Net (Hong et al., ACM MM 2021) on THUMOS14, the released code's settings (44.6 average mAP), with the 5000
# iterations of its quick start (the README's training section and the default say 20,000). They test after 201, 401,
# ... updates and keep the best mean over tIoU 0.1:0.7 on the test videos: `profile='published'`; the default,
# `profile='honest'`, keeps the last step. They train on, and score classification with, the tag list `labels_all`, not
# the segments' labels (8 of 200 training videos differ). Their detection mAP is the evaluator
# `thumos_snippet_official`.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'co2net'
model = dict(
    type='Localizer',
    backbone=dict(type='co2net.Consensus', in_channels=2048, channels=2048, hidden=512, dropout=0.5),
    heads=dict(
        classifier=dict(type='co2net.Classifier', channels=2048, num_classes=20, dropout=0.7),
        suppression=dict(type='co2net.Suppression'),
        pool=dict(type='TopKMean', divisor=7, writes='cas_logits'),
        supp_pool=dict(type='TopKMean', divisor=7, reads='suppressed_cas', writes='suppressed_logits'),
        test_pool=dict(type='TopKMean', divisor=10, reads='weighted_cas'),
        tag_pool=dict(type='TopKMean', divisor=None, writes='tag_logits')),
    losses=dict(
        mil=dict(
            type='VideoCrossEntropy', reads='cas_logits', target='tags_and_background', target_eps=1e-4, weight=1.0),
        mil_supp=dict(type='VideoCrossEntropy', reads='suppressed_logits', target_eps=1e-4, weight=1.0),
        coact=dict(
            type='CoActivity',
            margin=0.5,
            reads=dict(embedding='dropped_embedding', cas='suppressed_cas'),
            weight=1.0),
        mutual=dict(type='co2net.Mutual', weight=1.0),
        norm=dict(type='Sparsity', reduction='mean', weight=0.8),
        guide=dict(type='co2net.Guide', weight=0.8)),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=20,
        tag_scores='tag_logits',
        class_threshold=0.2,
        fallback='argmax',
        curve='attention',
        thresholds=dict(linspace=(0.1, 0.9, 10)),
        score_curve=dict(product=['cas', 'attention']),
        contrast=dict(outer=0.25, video_score=0.2),
        time='snippet',
        nms=dict(kind='gaussian', sigma=0.3, offset=1.0),
        nms_units='samples'))
train = dict(
    sampling='random_segments',
    length=500,
    batch_size=10,
    pairs=dict(source='by_class', count=3, distinct=True),
    iterations=5000,
    lr=5e-5,
    weight_decay=1e-3,
    checkpoint_interval=200)
test = dict(sampling='whole', evaluator='thumos_snippet_official')
data = dict(tags='labels_all')
profiles = dict(
    published=dict(
        train=dict(selection='best_on_test', select_by='mAP@0.1:0.7', val_first=201, val_interval=200)))
