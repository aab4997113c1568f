# FAC-Net's class-wise branch on W-TALC, on the embedded benchmark: cw_on_wtalc_thumos.py.
_base_ = ['../wtalc_synthetic.py+cw']
