# Synthetic videos with the time lines of ActivityNet 1.3 (few, long instances): for running ActivityNet-shaped configs.
data = dict(protocol='synthetic_anet/v2', synthetic=dict(profile='anet', world=0), resident='ram', tags='segments')
test = dict(evaluator=None)
