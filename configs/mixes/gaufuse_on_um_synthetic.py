# GauFuse on UM, on the embedded benchmark: gaufuse_on_um_thumos.py with the whole schedule in 30 more epochs.
_base_ = ['../um_synthetic.py+gaufuse']

ideas = dict(gaufuse=dict(epochs=30))
