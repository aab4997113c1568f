# W-TALC (Paul, Roy, Roy-Chowdhury; ECCV 2018) on THUMOS14, the authors' settings for I3D features. Their code selects
# nothing: its last file and log line hold 99,501 updates (a test at counter n sees n + 1 of them), which is what is
# trained here. `profile='published'` tests as they do, after 501, 1001, ... updates, and keeps the last like
# `profile='honest'`, the default, which tests once. They train on, and score classification with, the tag list
# `labels_all`, not the segments' labels (8 of 200 training videos differ). Their detection mAP is the column `wtalc` of
# the report.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'wtalc'
model = dict(
    type='Localizer',
    backbone=dict(type='LayeredEmbedding', in_channels=2048, channels=2048, layers=1, dropout=0.7),
    heads=dict(
        classifier=dict(
            type='SnippetClassifier', channels=2048, num_classes=20, init='xavier', reads='dropped_embedding'),
        mil=dict(type='TopKMean', divisor=8, rounding='ceil'),
        scores=dict(type='wtalc.ClassScores', divisor=8, short='none'),
        actionness=dict(type='Actionness', source='relu_sum')),  # for ideas that rank snippets; W-TALC has none
    losses=dict(
        mil=dict(type='VideoCrossEntropy', weight=0.5),
        cas=dict(type='CoActivity', margin=0.5, reads=dict(embedding='dropped_embedding'), weight=0.5)),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=20,
        scores='class_scores',
        scores_activation='none',
        tag_scores='video_logits',
        class_threshold=0.0,
        class_test='>',
        thresholds=dict(relative=[0.5]),
        min_length=2,
        contrast=dict(outer=None, inside='max', video_score=0.7),
        time='snippet'))
train = dict(
    sampling='random_crop',
    length=750,
    batch_size=10,
    pairs=dict(source='by_class', count=3),
    iterations=99_501,
    checkpoint_interval=500,
    lr=1e-4,
    weight_decay=5e-4)
test = dict(sampling='whole', evaluator='wtalc')
data = dict(tags='labels_all')
profiles = dict(published=dict(train=dict(val_first=501, val_interval=500)))
