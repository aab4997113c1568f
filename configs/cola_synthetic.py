# CoLA on the embedded synthetic benchmark: the settings of THUMOS14 with 64 channels, 200 snippets and 1500 steps at a
# higher rate, so that it trains in about a minute on one core. Rate, length and dropout are the best of twelve trials
# on another world (`searches/cola.yaml`), which kept the thresholds.
_base_ = ['cola_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64),
    heads=dict(classifier=dict(channels=64, num_classes=10, dropout=0.5)),
    postprocessor=dict(shared=dict(num_classes=10)))
train = dict(length=200, iterations=1500, lr=3e-3)
test = dict(length=200)
