# FTCL's FSD and LCS on W-TALC, THUMOS14 (FTCL Table 5 prints 34.5 -> 35.7).
_base_ = ['../wtalc_thumos.py+ftcl']
