# ActivityNet 1.3: a folder with features/ (a feature store, see `wtal-bench import-features --help`) and annotations.json.
# root=None looks in $WTAL_DATA/activitynet13 and data/activitynet13.
data = dict(protocol='activitynet13/v1', root=None, features='features', annotations='annotations.json')
