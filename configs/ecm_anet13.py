# ECM (Zhao et al.), official profile: the settings that made 23.5 average mAP on ActivityNet 1.3.
_base_ = ['ecm_anet12.py', '_base_/datasets/activitynet13.py']

model = dict(
    heads=dict(pre=dict(num_classes=200, topk_ratio=0.6), weights=dict(num_classes=200)),
    postprocessor=dict(num_classes=200, class_threshold=0.05))
test = dict(frame_accuracy=dict(threshold=0.05))
