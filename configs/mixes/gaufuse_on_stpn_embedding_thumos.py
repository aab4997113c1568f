# GauFuse on STPN + embedding, THUMOS14 (GauFuse Table 5 prints 28.4 -> 31.6).
_base_ = ['../stpn_embedding_thumos.py+gaufuse']
