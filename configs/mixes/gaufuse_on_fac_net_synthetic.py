# GauFuse on FAC-Net, on the embedded benchmark: the schedule of gaufuse_on_fac_net_thumos.py in 30 epochs.
_base_ = ['../fac_net_synthetic.py+gaufuse']

ideas = dict(gaufuse=dict(epochs=30))
