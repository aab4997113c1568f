# THUMOS14: a folder with features/ (a feature store, see `wtal-bench import-features --help`) and annotations.json.
# A recipe of authors who trained on W-TALC's tags says so with data.tags='labels_all': the list lies beside the
# annotations, as annotations_tags_labels_all.json (`import-features --format wtalc` writes it).
# root=None looks in $WTAL_DATA/thumos14 and data/thumos14.
data = dict(protocol='thumos14/v1', root=None, features='features', annotations='annotations.json')
