# FTCL's FSD and LCS on STPN + embedding, THUMOS14 (FTCL Table 5 prints 27.2 -> 29.0). The table says STPN; without an
# embedding the losses reach nothing that a test sees.
_base_ = ['../stpn_embedding_thumos.py+ftcl']
