# FTCL's FSD and LCS on CoLA, THUMOS14 (FTCL Table 5 prints 41.7 -> 42.3).
_base_ = ['../cola_thumos.py+ftcl']
