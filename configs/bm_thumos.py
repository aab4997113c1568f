# BM (Nguyen, Ramanan, Fowlkes; ICCV 2019; WSBM in some tables) on THUMOS14. There is no authors' code: these are the
# settings of a later repository that starts from BM (bfshi/DGAM, commit 8e58599). Its loss weights 0.03, 0.1 and 0.3
# stand in a function that none of its programs calls; what they run is one joint step without the clusters
# (`model.member.losses.cluster.weight=0`) and with a term of DGAM's. It keeps the best mAP@0.5 on the test videos, one
# stream against the best of the other. `profile='published'` keeps the epoch that is best for both together by that
# number, scored every 10 epochs; `profile='honest'`, the default, the last of 1000 epochs. Read every number of this
# host as indicative. Tags are presumably those of the segments; the evaluator is the column `thumos_seconds_210` of the
# report.
_base_ = ['_base_/datasets/thumos14.py', '_base_/runtime.py']

method = 'bm'
model = dict(
    type='Streams',
    streams=dict(rgb=(0, 1024), flow=(1024, 2048)),
    member=dict(
        backbone=dict(type='RawFeatures'),
        heads=dict(
            attention=dict(type='SnippetAttention', channels=1024, hidden=256),
            classifier=dict(
                type='bm.Classifier',
                channels=1024,
                num_classes=20,
                pool='norm',
                fg_eps=1.0,
                bg_eps=1e-6,
                test_eps=0.0),
            clusters=dict(type='bm.Clusters', channels=1024),
            actionness=dict(type='Actionness', source='attention')),  # for ideas that rank snippets
        losses=dict(
            fg=dict(type='VideoCrossEntropy', weight=1.0),
            bg=dict(type='VideoCrossEntropy', reads='background_logits', target='background', weight=0.03),
            guide=dict(type='bm.Guide', sigma=1.0, foreground='max', bias=False, weight=0.1),
            cluster=dict(type='bm.Clustering', weight=0.3))),
    postprocessor=dict(
        type='bm.TwoStreamDecoder',
        streams=dict(rgb=dict(threshold=0.03, share=0.35), flow=dict(threshold=0.08, share=0.65)),
        num_classes=20,
        class_threshold=0.1,
        fallback='argmax',
        mix=0.8,
        upsample=20,
        sigma=0.0,
        activation='sigmoid',
        attention_power=2,
        contrast=dict(outer=0.25, ring='one_more', weight=0.3, sides='separate'),
        nms=dict(iou=0.5, drop='>')))
train = dict(
    sampling=dict(type='random_segments', equal='draw'),
    length=400,
    batch_size=32,
    drop_last=True,
    epochs=1000,
    checkpoint_interval=10,
    lr=1e-3)
test = dict(sampling=dict(type='uniform', min_length=50), length=400, evaluator='thumos_seconds_210')
profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.5', val_interval=10)))
