"""Features and annotations on disk -> padded mini-batches with video-level labels.

`annotations` reads what is known of the videos, `store` holds the features, `sampling` picks snippets, `dataset` joins
them to the training side (tags only), `check` looks for what does not fit. Nothing here imports torch until a batch
is gathered.
"""
