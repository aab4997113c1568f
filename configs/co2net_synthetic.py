# CO2-Net on the embedded synthetic benchmark: the settings of THUMOS14 with 64 channels (32 in the attentions), 100
# snippets and 1500 steps at a twenty times higher rate, so that it trains in about a minute on one core. Rate, length
# and thresholds are the best of twelve trials on another world (`searches/co2net.yaml`), which kept the dropout.
_base_ = ['co2net_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64, hidden=32),
    heads=dict(classifier=dict(channels=64, num_classes=10)),
    postprocessor=dict(num_classes=10, thresholds=dict(linspace=(0.05, 0.95, 19))))
train = dict(length=100, iterations=1500, lr=1e-3)
