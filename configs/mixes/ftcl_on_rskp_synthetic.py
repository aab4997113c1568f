# FTCL's FSD and LCS on RSKP: pairs within each mini-batch from the start on, ranked by RSKP's attention.
_base_ = ['../rskp_synthetic.py+ftcl']

ideas = dict(ftcl=dict(schedule='joint', pairs='in_batch', proj_dim=32))
