# UM on the embedded synthetic benchmark: the authors' losses and weights with 64 channels, 200 snippets and fewer,
# larger steps. Rate and length are the best of twelve trials on another world (`searches/um.yaml`), which kept
# thresholds and dropout.
_base_ = ['um_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64),
    heads=dict(classifier=dict(channels=64, num_classes=10)),
    postprocessor=dict(shared=dict(num_classes=10)))
train = dict(length=200, iterations=1000, lr=3e-3)
test = dict(length=200)
