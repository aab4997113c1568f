# FTCL's FSD and LCS on CoLA, on the embedded benchmark: ftcl_on_cola_thumos.py with 5 more epochs, and the projection
# as small as the features.
_base_ = ['../cola_synthetic.py+ftcl']

ideas = dict(ftcl=dict(epochs=5, proj_dim=32))
