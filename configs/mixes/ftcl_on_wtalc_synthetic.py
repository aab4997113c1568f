# FTCL's FSD and LCS on W-TALC, on the embedded benchmark: ftcl_on_wtalc_thumos.py with 5 more epochs, and the
# projection as small as the features.
_base_ = ['../wtalc_synthetic.py+ftcl']

ideas = dict(ftcl=dict(epochs=5, proj_dim=32))
