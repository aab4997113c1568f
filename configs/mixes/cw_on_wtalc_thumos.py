# FAC-Net's class-wise branch on W-TALC, THUMOS14 (FAC-Net Table 5 prints 31.6 -> 33.5).
_base_ = ['../wtalc_thumos.py+cw']
