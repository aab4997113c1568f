# FAC-Net (Huang, Wang, Li; ICCV 2021) on THUMOS14, the authors' settings. Two streams that share nothing but the run.
# `profile='published'` made 42.2 average mAP by the authors' loop (`thumos_snippet`, which drops the ambiguous
# segments): the test videos are scored every 5 epochs and each stream keeps its own best epoch by what it finds alone.
# `profile='honest'`, the default, keeps the last epoch of both. Tags are W-TALC's `labels_all`.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'fac_net'
model = dict(
    type='Streams',
    streams=dict(rgb=(0, 1024), flow=(1024, 2048)),
    member=dict(
        backbone=dict(
            type='fac_net.Trunk',
            in_channels=1024,
            channels=1024,
            num_classes=20,
            background=True,
            delta=5.0,
            temperatures=(1.0, 2.0, 5.0),
            embed_kernel=1,
            dropout=0.5,
            fg_init='neg_bg',
            embedding=False),  # for methods that attach to FAC-Net: True
        heads=dict(
            cw=dict(type='fac_net.ClassWise', delta=5.0, video_scale_multiplier=2.0, writes='cw_logits'),
            ca=dict(type='fac_net.ClassAgnostic', delta=5.0, video_scale_multiplier=2.0),
            mil=dict(type='fac_net.MultipleInstance', video_scale_multiplier=2.0, writes='mil_logits')),
        losses=dict(
            cw=dict(type='VideoCrossEntropy', reads='cw_logits', target_eps=1e-8, weight=1.0),
            ca=dict(type='VideoCrossEntropy', target_eps=1e-8, weight=0.1),
            mil=dict(
                type='VideoCrossEntropy',
                reads='mil_logits',
                target='tags_and_background',
                target_eps=1e-8,
                weight=0.1))),
    postprocessor=dict(
        type='PooledDecoder',
        shared=dict(
            num_classes=20,
            class_threshold=0.1,
            upsample=None,
            thresholds=dict(arange=(0.03, 0.055, 0.005)),
            min_length=3,
            contrast=dict(outer=0.25, weight=0.6, ring='inside', overhang=1),
            end_overhang=1,
            time='snippet',
            nms=dict(iou=0.2, overlap='self', offset=1.0, drop='>'),
            nms_units='samples'),
        passes=dict(
            rgb=dict(
                scores='rgb.video_logits', curve=dict(field='rgb.cas', activation='softmax'), score_scale=0.1),
            flow=dict(scores='flow.video_logits', curve=dict(field='flow.cas', activation='softmax'))),
        nms=dict(iou=0.9, overlap='self', offset=1.0, drop='>'),
        nms_units='samples',
        nms_classes='shared'))
train = dict(
    sampling='whole', batch_size=10, grad_reduction='sum', epochs=100, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.005)
test = dict(sampling='whole', evaluator='thumos_snippet')
data = dict(tags='labels_all')
profiles = dict(
    published=dict(
        train=dict(selection='best_on_test', select_streams=True, select_by='mAP@0.1:0.7', val_interval=5)))
