# BM on ActivityNet 1.2: the loss weights, thresholds and curve of the same repository. Its background term weighs 1 and
# RGB and flow weigh their classification differently. Epochs, rate and batch are not known apart: those of THUMOS14
# stand here, for far fewer epochs, since an epoch holds 22 times as many videos. `profile='published'`
# keeps the best of the test videos by the average, as that repository does, `profile='honest'`, the default, the last.
_base_ = ['bm_thumos.py', '_base_/datasets/activitynet12.py']

model = dict(
    member=dict(
        heads=dict(classifier=dict(num_classes=100)),
        losses=dict(bg=dict(weight=1.0))),
    overrides=dict(flow=dict(losses=dict(fg=dict(weight=0.3)))),
    postprocessor=dict(
        streams=dict(rgb=dict(threshold=0.01, share=0.5), flow=dict(threshold=0.01, share=0.5)),
        num_classes=100,
        sigma=25.0))
train = dict(epochs=50)
test = dict(sampling=dict(min_length=2), length=200)
profiles = dict(published=dict(train=dict(select_by='average')))
