# FTCL on THUMOS14, started from the authors' baseline as their README trains it (in-batch losses on).
_base_ = ['../ftcl_thumos.py']

variant = 'warm_start_in_batch'
train = dict(init_from=dict(config='ftcl_in_batch_thumos.py'))
