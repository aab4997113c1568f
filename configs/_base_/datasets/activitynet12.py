# ActivityNet 1.2: a folder with features/ (a feature store: `wtal-bench import-features`) and annotations.json.
# root=None looks in $WTAL_DATA/activitynet12 and data/activitynet12.
data = dict(
    protocol='activitynet12/v1', root=None, features='features', annotations='annotations.json', tags='segments')
test = dict(evaluator='activitynet')
