# GauFuse on STPN + embedding, on the embedded benchmark: gaufuse_on_stpn_embedding_thumos.py with the whole schedule
# in 30 more epochs.
_base_ = ['../stpn_embedding_synthetic.py+gaufuse']

ideas = dict(gaufuse=dict(epochs=30))
