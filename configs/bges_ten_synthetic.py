# BGES + TEN (Li et al.) on the embedded synthetic benchmark: the THUMOS14 settings, scaled down to 64 channels a
# stream, 200 snippets and 600 iterations so that it trains in well under two minutes on one core. lambda is 0.2, not
# 0.1: with 0.1 the background logit turns negative here, and BGES then drives the attention to 1 everywhere (README).
_base_ = ['_base_/datasets/synthetic.py', '_base_/runtime.py']

method = 'bges_ten'
model = dict(
    type='Localizer',
    backbone=dict(
        type='bges_ten.Trunk',
        streams=dict(rgb=(0, 64), flow=(64, 128)),
        channels=64,
        num_classes=10,
        taps=3,
        dropout=0.5),
    heads=dict(score=dict(type='bges_ten.VideoScore')),
    views=dict(tcb=dict(type='bges_ten.SnippetRepeat', k=4, tail='short')),
    losses=dict(
        fg=dict(type='bges_ten.ForegroundLoss', label_norm='l1'),
        bg=dict(type='bges_ten.BackgroundLoss', norm='nf', grl=0.0, weight=0.2),
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
        num_classes=10,
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
    length=200,
    batch_size=10,
    iterations=600,
    lr=1e-3,
    lr_schedule=[(300, 1e-4)],
    weight_decay=1e-3,
    checkpoint_interval=200)
test = dict(sampling='whole')
