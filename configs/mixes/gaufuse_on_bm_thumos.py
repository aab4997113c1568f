# GauFuse on BM, THUMOS14 (GauFuse Table 5 prints 35.3 -> 37.3).
_base_ = ['../bm_thumos.py+gaufuse']
