# W-TALC on the embedded synthetic benchmark: the authors' settings with 128 channels and fewer, larger steps. Rate and
# length are the best of twelve trials on another world (`searches/wtalc.yaml`), which kept thresholds and dropout.
_base_ = ['wtalc_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=128),
    heads=dict(classifier=dict(channels=128, num_classes=10)),
    postprocessor=dict(num_classes=10))
train = dict(iterations=2000, lr=3e-3)
