# The embedded benchmark: made once from a seed, cached. 10 classes, 100 training and 100 test videos, 2 x 64 features
# (RGB columns 0..63, flow 64..127). It ranks nothing: see the leaderboard's note on what synthetic numbers mean.
data = dict(protocol='synthetic/v2', synthetic=dict(profile='demo', world=0), resident='ram', tags='segments')
test = dict(evaluator=None)
