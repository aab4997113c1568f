# ActivityNet 1.3: a folder with features/ (a feature store: `wtal-bench import-features`) and annotations.json.
# root=None looks in $WTAL_DATA/activitynet13 and data/activitynet13.
data = dict(
    protocol='activitynet13/v1', root=None, features='features', annotations='annotations.json', tags='segments')
test = dict(evaluator='activitynet')
