# FAC-Net's class-wise branch on STPN + embedding, THUMOS14 (FAC-Net Table 5 prints 28.9 -> 30.6).
_base_ = ['../stpn_embedding_thumos.py+cw']
