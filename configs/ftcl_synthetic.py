# FTCL on ACM-Net, on the embedded synthetic benchmark: ACM-Net first with both losses on over in-batch pairs, then 10
# epochs on the list of pairs. Scaled down to 64 channels and 200 snippets, with the first stage's 150 epochs, which
# are few already; L, J, tau and the loss weights are the published ones. Both stages take about a minute on a core.
# The first stage's rate, the second's length and the bar for a class are the best of twelve trials on another world
# (`searches/ftcl.yaml`).
_base_ = ['ftcl_thumos.py', '_base_/datasets/synthetic.py']

model = dict(
    backbone=dict(in_channels=128, channels=64),
    heads=dict(attention=dict(channels=64), classifier=dict(channels=64, num_classes=10)),
    losses=dict(fsd=dict(channels=64, proj_dim=32)),
    postprocessor=dict(shared=dict(num_classes=10, class_threshold=0.1)))
train = dict(
    length=200,
    init_from=dict(config='ablations/ftcl_in_batch_synthetic.py'),
    epochs=10)
test = dict(length=200)
