# FAC-Net's class-wise branch on STPN + embedding, on the embedded benchmark: cw_on_stpn_embedding_thumos.py.
_base_ = ['../stpn_embedding_synthetic.py+cw']
