# FAC-Net's class-wise branch on BM + embedding, THUMOS14 (FAC-Net Table 5 prints 36.0 -> 37.6). The table says BM;
# the branch needs an embedding to shape, so both BM and BM with the branch have one here.
_base_ = ['../bm_embedding_thumos.py+cw']
