# FAC-Net's class-wise branch on UM, on the embedded benchmark: cw_on_um_thumos.py.
_base_ = ['../um_synthetic.py+cw']
