# FAC-Net's class-wise branch on UM, THUMOS14 (FAC-Net Table 5 prints 40.4 -> 40.8).
_base_ = ['../um_thumos.py+cw']
