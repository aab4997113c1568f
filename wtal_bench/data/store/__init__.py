"""The feature store: written once, checked whenever it is opened, read without copying."""

from __future__ import annotations

from wtal_bench.data.store.manifest import manifest_hash
from wtal_bench.data.store.reading import FeatureStore
from wtal_bench.data.store.shards import plan_shards, write_shards
from wtal_bench.data.store.write import StoredVideo, write_store

__all__ = ["FeatureStore", "StoredVideo", "manifest_hash", "plan_shards", "write_shards", "write_store"]
