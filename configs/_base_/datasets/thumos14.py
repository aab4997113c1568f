# THUMOS14: a folder with features/ (a feature store, see `wtal-bench import-features --help`) and annotations.json.
# root=None looks in $WTAL_DATA/thumos14 and data/thumos14.
data = dict(protocol='thumos14/v1', root=None, features='features', annotations='annotations.json')
