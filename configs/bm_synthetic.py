# BM on the embedded synthetic benchmark: 2 x 64 features, 100 snippets and fewer epochs. Rate, length, thresholds and
# the bar for a class are the best of twelve trials on another world (`searches/bm.yaml`).
_base_ = ['bm_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    streams=dict(rgb=(0, 64), flow=(64, 128)),
    member=dict(
        heads=dict(
            attention=dict(channels=64),
            classifier=dict(channels=64, num_classes=10),
            clusters=dict(channels=64))),
    postprocessor=dict(
        streams=dict(rgb=dict(threshold=0.3), flow=dict(threshold=0.3)), num_classes=10, class_threshold=0.2))
train = dict(length=100, epochs=300, lr=3e-3)
test = dict(length=100)
