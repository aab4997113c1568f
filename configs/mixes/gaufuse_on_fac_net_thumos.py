# GauFuse on FAC-Net, THUMOS14 (GauFuse Table 5 prints 42.9 -> 44.8). Each stream is labelled from its own
# candidates.
_base_ = ['../fac_net_thumos.py+gaufuse']
