# GauFuse on BM, on the embedded benchmark: gaufuse_on_bm_thumos.py with the whole schedule in 30 more epochs.
_base_ = ['../bm_synthetic.py+gaufuse']

ideas = dict(gaufuse=dict(epochs=30))
