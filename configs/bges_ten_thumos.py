# BGES + TEN (Li et al.) on THUMOS14. Stated in the paper: Adam, weight decay 1e-3, lr 1e-3 and 1e-4 after half of the
# iterations, k = 4, lambda 0.1, beta 0.1, epsilon 0.5, class threshold 0.1, NMS 0.5. Not stated, and chosen here:
# width, taps, dropout, length (a multiple of k), batch, iterations, Gaussian, thresholds, score (see the README).
# Nor does it say which checkpoint made its 37.8 (0.3:0.7), or by which evaluator (here the official one, 212 videos).
# `profile='published'` is CO2-Net's way, whose batch and iterations these are (assumed): the best on the test videos by
# 0.1:0.7, scored every 200 iterations. `profile='honest'`, the default, keeps the last.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'bges_ten'
model = dict(
    type='Localizer',
    backbone=dict(
        type='bges_ten.Trunk',
        streams=dict(rgb=(0, 1024), flow=(1024, 2048)),
        channels=1024,
        num_classes=20,
        taps=3,
        dropout=0.5),
    heads=dict(score=dict(type='bges_ten.VideoScore')),
    views=dict(tcb=dict(type='bges_ten.SnippetRepeat', k=4, tail='short')),
    losses=dict(
        fg=dict(type='VideoCrossEntropy', normalize=True),
        bg=dict(type='bges_ten.BackgroundLoss', norm='nf', grl=0.0, weight=0.1),
        bvl=dict(type='bges_ten.WholeVideoBackground', weight=0.0),  # reported; part of the loss in Table 4's BVL rows
        att=dict(
            type='bges_ten.AttentionConsistency',
            distance='mae',
            size=5,
            sigma=1.0,
            pad='replicate',
            detach_target=False,
            weight=0.1),
        cas=dict(
            type='bges_ten.CASConsistency',
            distance='kl',
            space='prob',
            temperature=1.0,
            detach_target=False,
            weight=0.1),
        watch=dict(type='bges_ten.BackgroundLogit', weight=0.0)),  # sign of the background logit, for the log alone
    postprocessor=dict(
        type='ThresholdDecoder',
        num_classes=20,
        scores='video_logits',
        scores_activation='softmax',
        class_threshold=0.1,
        class_test='>',
        fallback='argmax',
        curve=dict(
            sum=[dict(field='cas', activation='softmax', weight=0.5), dict(field='attention', weight=0.5)]),
        normalize='none',
        upsample=24,
        thresholds=dict(linspace=(0.1, 0.9, 10)),
        above='>',
        contrast=dict(outer=0.25, ring='at_least_one', video_score=0.25),
        time='stride',
        nms=dict(iou=0.5),
        clamp='before_nms'))
train = dict(
    sampling='random_segments',
    length=320,
    batch_size=10,
    iterations=20000,
    lr=1e-3,
    lr_schedule=[(10000, 1e-4)],
    weight_decay=1e-3,
    checkpoint_interval=1000)
test = dict(sampling='whole', evaluator='thumos_seconds_212')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.1:0.7', val_interval=200)))
