# BM on the embedded synthetic benchmark: 2 x 64 features, 100 snippets and fewer epochs.
_base_ = ['bm_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    streams=dict(rgb=(0, 64), flow=(64, 128)),
    member=dict(
        heads=dict(
            attention=dict(channels=64),
            classifier=dict(channels=64, num_classes=10),
            clusters=dict(channels=64))),
    postprocessor=dict(num_classes=10))
train = dict(length=100, epochs=300)
test = dict(length=100)
