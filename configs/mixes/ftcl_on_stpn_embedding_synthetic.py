# FTCL's FSD and LCS on STPN + embedding, on the embedded benchmark: ftcl_on_stpn_embedding_thumos.py with 5 more
# epochs, and the projection as small as the features.
_base_ = ['../stpn_embedding_synthetic.py+ftcl']

ideas = dict(ftcl=dict(epochs=5, proj_dim=32))
