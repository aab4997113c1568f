# my_idea on the embedded synthetic benchmark (10 classes, 2 x 64 features).
method = 'my_idea'
model = dict(
    type='Localizer',
    backbone=dict(type='my_idea.Embedding', in_channels=128, channels=64),
    heads=dict(gate=dict(type='my_idea.Gate', channels=64, num_classes=10, dropout=0.5)),
    losses=dict(cls=dict(type='VideoCrossEntropy'), sparse=dict(type='my_idea.Sparsity', weight=0.1)),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=10,
        class_threshold=0.1,
        normalize='rectified',
        upsample=8,
        thresholds=dict(linspace=(0.1, 0.9, 9)),
        contrast=dict(outer=0.25, video_score=0.2),
        nms=dict(iou=0.5)))
data = dict(protocol='synthetic/v2', synthetic=dict(profile='demo', world=0), resident='ram')
train = dict(sampling='uniform', length=200, batch_size=16, epochs=30, lr=1e-3, weight_decay=5e-4)
test = dict(sampling='uniform', length=200)
