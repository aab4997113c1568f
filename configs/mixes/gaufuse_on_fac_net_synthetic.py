# GauFuse on FAC-Net, on the embedded benchmark: gaufuse_on_fac_net_thumos.py with the whole schedule in 30 more
# epochs.
_base_ = ['../fac_net_synthetic.py+gaufuse']

ideas = dict(gaufuse=dict(epochs=30))
