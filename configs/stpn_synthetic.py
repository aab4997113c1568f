# STPN on the embedded synthetic benchmark: 2 x 64 features, 100 snippets, fewer epochs at a higher rate. The weight of
# the sparsity, a sum over time, is four times as large for a quarter of the snippets. Rate, length, thresholds and the
# bar for a class are the best of twelve trials on another world (`searches/stpn.yaml`).
_base_ = ['stpn_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    streams=dict(rgb=(0, 64), flow=(64, 128)),
    member=dict(
        heads=dict(
            attention=dict(channels=64),
            classifier=dict(channels=64, num_classes=10)),
        losses=dict(sparse=dict(weight=4e-4))),
    postprocessor=dict(shared=dict(num_classes=10, class_threshold=0.3, thresholds=dict(arange=(0.05, 0.5, 0.05)))))
train = dict(length=100, epochs=200, checkpoint_interval=10, lr=3e-3)
test = dict(length=100)
profiles = dict(published=dict(train=dict(val_first=184)))
