"""Bringing other people's features and annotations into the harness.

`folders` reads a folder of .npy or .npz files, `wtalc` the object arrays of the W-TALC release (the one reader of
pickled arrays, through an unpickler that can build nothing but arrays), `features` writes what they read into a store,
`table` turns a CSV table of tags or instances into an annotation file.
"""
