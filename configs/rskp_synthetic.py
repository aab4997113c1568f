# RSKP on the embedded synthetic benchmark. The schedule is scaled down from 200 epochs to 60 (memory from epoch 31 on),
# the width from 2048 to 256 channels, and the rate raised from 5e-5 to 3e-3 (width and rate chosen among four by the
# training loss), so that it trains in well under two minutes on one core.
_base_ = ['_base_/datasets/synthetic.py', '_base_/runtime.py']

method = 'rskp'
model = dict(
    type='Localizer',
    backbone=dict(type='rskp.Embedding', in_channels=128, channels=256, dropout=0.6, embedding=False),
    heads=dict(
        classifier=dict(type='rskp.Classifier', channels=256, num_classes=10, scale=20.0),
        propagation=dict(
            type='rskp.Propagation', channels=256, count=8, iterations=2, walk_weight=0.5, score_share=0.6),
        memory=dict(
            type='rskp.Memory', channels=256, num_classes=10, size=5, start=31, slot='label')),
    losses=dict(
        fore_o=dict(type='rskp.TagCrossEntropy'),
        fore_m=dict(type='rskp.TagCrossEntropy', reads='m.video_logits'),
        fore_r=dict(
            type='rskp.TagCrossEntropy',
            reads='r.video_logits',
            weight=dict(schedule='steps', steps=[(0, 0.0), (31, 0.5)])),
        back_o=dict(type='rskp.TagCrossEntropy', reads='classwise_logits', background_target=1.0, weight=0.2),
        back_m=dict(type='rskp.TagCrossEntropy', reads='m.classwise_logits', background_target=1.0, weight=0.2),
        back_r=dict(
            type='rskp.TagCrossEntropy',
            reads='r.classwise_logits',
            background_target=1.0,
            weight=dict(schedule='steps', steps=[(0, 0.0), (31, 0.1)])),
        att=dict(type='rskp.AttentionContrast', weight=0.1),
        spl=dict(
            type='rskp.Distillation',
            temperature=0.2,
            weight=dict(schedule='steps', steps=[(0, 1.0), (31, 0.5)]))),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=10,
        scores='video_prob',
        scores_activation='none',
        class_threshold=0.1,
        curve=dict(
            product=[
                dict(
                    sum=[
                        dict(field='cas', activation='softmax', weight=0.6),
                        dict(field='m.cas', activation='softmax', weight=0.4)]),
                'attention']),
        thresholds=dict(arange=(0.001, 0.04, 0.002)),
        min_length=2,
        contrast=dict(outer=0.25, ring='inside', overhang=1),
        end_overhang=1,
        time='snippet',
        precision='float32',
        nms=dict(iou=0.5, overlap='self', offset=1.0, drop='>'),
        nms_units='samples'))
train = dict(
    sampling='whole',
    batch_size=10,
    epochs=60,
    lr=3e-3,
    betas=(0.9, 0.99),
    weight_decay=5e-4,
    grad_reduction='sum')
test = dict(sampling='whole')
