# RSKP (CVPR 2022), settings of the authors' code on THUMOS14: 200 epochs, memory from epoch 101 on.
# `profile='published'` made 45.1 average mAP by the authors' loop (`thumos_snippet`): the test videos are scored every
# 5 epochs, and the README has the user take the best one. `profile='honest'`, the default, keeps the last epoch. Tags
# are W-TALC's `labels_all`.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'rskp'
model = dict(
    type='Localizer',
    backbone=dict(type='rskp.Embedding', in_channels=2048, channels=2048, dropout=0.6, embedding=False),
    heads=dict(
        classifier=dict(type='rskp.Classifier', channels=2048, num_classes=20, scale=20.0),
        propagation=dict(
            type='rskp.Propagation', channels=2048, count=8, iterations=2, walk_weight=0.5, score_share=0.6),
        memory=dict(
            type='rskp.Memory', channels=2048, num_classes=20, size=5, start=101, slot='label')),
    losses=dict(
        fore_o=dict(type='VideoCrossEntropy', target_eps=1e-8),
        fore_m=dict(type='VideoCrossEntropy', reads='m.video_logits', target_eps=1e-8),
        fore_r=dict(
            type='VideoCrossEntropy',
            reads='r.video_logits',
            target_eps=1e-8,
            weight=dict(schedule='steps', steps=[(0, 0.0), (101, 0.5)])),
        back_o=dict(
            type='VideoCrossEntropy',
            reads='classwise_logits',
            target='tags_and_background',
            target_eps=1e-8,
            weight=0.2),
        back_m=dict(
            type='VideoCrossEntropy',
            reads='m.classwise_logits',
            target='tags_and_background',
            target_eps=1e-8,
            weight=0.2),
        back_r=dict(
            type='VideoCrossEntropy',
            reads='r.classwise_logits',
            target='tags_and_background',
            target_eps=1e-8,
            weight=dict(schedule='steps', steps=[(0, 0.0), (101, 0.1)])),
        att=dict(type='rskp.AttentionContrast', weight=0.1),
        spl=dict(
            type='rskp.Distillation',
            temperature=0.2,
            weight=dict(schedule='steps', steps=[(0, 1.0), (101, 0.5)]))),
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=20,
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
    epochs=200,
    lr=5e-05,
    betas=(0.9, 0.99),
    weight_decay=5e-4,
    grad_reduction='sum')
test = dict(sampling='whole', evaluator='thumos_snippet')
data = dict(tags='labels_all')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.1:0.7', val_interval=5)))
