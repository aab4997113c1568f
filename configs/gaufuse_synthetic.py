# GauFuse on RSKP on the embedded synthetic benchmark. The official schedule of 350 epochs is scaled down to 105 (every
# epoch number times 0.3; the growth of the pseudo loss's weight to the power 1 / 0.3), the width from 2048 to 256
# channels, and the rates times 60 as in rskp_synthetic.py, so that it trains in under two minutes on one core.
_base_ = ['_base_/datasets/synthetic.py', '_base_/runtime.py']

method = 'gaufuse'
model = dict(
    type='Localizer',
    backbone=dict(
        type='rskp.Embedding',
        in_channels=128,
        channels=256,
        dropout=0.6,
        embedding=False,
        dropout_in_passes=[60, 69, 74, 78, 83, 90]),
    heads=dict(
        classifier=dict(type='rskp.Classifier', channels=256, num_classes=10, scale=20.0),
        propagation=dict(
            type='rskp.Propagation', channels=256, count=8, iterations=2, walk_weight=0.5, score_share=0.6),
        memory=dict(
            type='rskp.Memory',
            channels=256,
            num_classes=10,
            size=5,
            start=31,
            slot='first',
            clear_at=[60, 69, 74, 78, 83, 90]),
        labels=dict(
            type='gaufuse.PseudoLabels',
            num_columns=11,
            decoder=dict(
                num_classes=None,
                scores='video_prob',
                scores_activation='none',
                class_threshold=0.16,
                curve=dict(
                    product=[
                        dict(
                            sum=[
                                dict(field='cas', activation='softmax', weight=0.8),
                                dict(field='m.cas', activation='softmax', weight=0.2)]),
                        'attention']),
                thresholds=dict(arange=(0.001, 0.04, 0.002)),
                min_length=2,
                contrast=dict(outer=0.0785, power=0.9, ring='inside', overhang=1),
                end_overhang=1,
                time='snippet',
                precision='float32'),
            generations=[60, 69, 74, 78, 83, 90],
            temperatures=[0.02, 0.02, 0.02, 0.002, 0.002, 0.0016],
            schedule=[(61, 'absolute', 1.0), (76, 'delta', 2.0), (91, 'delta', 2.15)],
            fusion=dict(distribution='gaussian', overlap=0.25, overlap_kind='self', weight_by='inner'),
            linpro=dict(selection='interior_point', snap=True, on_infeasible='zero'),
            gate_by_label=False)),
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
            weight=dict(schedule='steps', steps=[(0, 1.0), (31, 0.5), (61, 1.0)])),
        pseudo=dict(
            type='gaufuse.PseudoLabelLoss',
            share=0.8,
            reads=dict(propagated_cas='m.cas'),
            # 10 at epoch 60
            weight=dict(schedule='geometric', value=10 / 1.035**200, factor=1.035 ** (1 / 0.3), maximum=50.0))),
    postprocessor=dict(
        type='gaufuse.FusedDecoder',
        decoder=dict(
            num_classes=10,
            scores='video_prob',
            scores_activation='none',
            class_threshold=0.16,
            curve=dict(
                product=[
                    dict(
                        sum=[
                            dict(field='cas', activation='softmax', weight=0.85),
                            dict(field='m.cas', activation='softmax', weight=0.15)]),
                    'attention']),
            thresholds=dict(arange=(0.001, 0.04, 0.002)),
            min_length=2,
            contrast=dict(outer=0.0785, power=0.9, ring='inside', overhang=1),
            end_overhang=1,
            time='snippet',
            precision='float32'),
        fusion=dict(temperature=0.2, distribution='gaussian', overlap=0.25, overlap_kind='self', weight_by='inner')))
train = dict(
    sampling='whole',
    batch_size=10,
    epochs=105,
    lr=3e-3,
    lr_schedule=[(24, 0.0024), (60, 0.0012288), (74, 3.072e-05), (78, 1.536e-05)],
    betas=(0.9, 0.99),
    weight_decay=5e-4,
    grad_reduction='sum')
test = dict(sampling='whole')
