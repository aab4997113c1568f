# The embedded benchmark: made once from a seed, cached. 10 classes, 100 training and 100 test videos, 2 x 64 features
# (RGB columns 0..63, flow 64..127). Its difficulty is that of real features as measured on composed videos; what the
# numbers mean, and the figures: wtal_bench/data/synthetic/README.md.
data = dict(protocol='synthetic/v2', synthetic=dict(profile='demo', world=0), resident='ram', tags='segments')
test = dict(evaluator=None)
