# FAC-Net's class-wise branch on BM + embedding, on the embedded benchmark: cw_on_bm_embedding_thumos.py.
_base_ = ['../bm_embedding_synthetic.py+cw']
