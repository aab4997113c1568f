"""The layouts of feature files that `import-features --format` knows by name, built from its options."""

from __future__ import annotations

from collections.abc import Sequence

from wtal_bench.data.importers.folders import npy_folders, npz_folder
from wtal_bench.data.importers.wtalc import wtalc_release
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Layout
from wtal_bench.structures import FeatureSource


class NpyFolders(Layout):
    """A folder of `<id>.npy`, or one folder a stream.

    Args:
        transposed: the files hold [D,T] instead of [T,D].
        strip_prefix: text cut off the front of file names to get ids, e.g. "v_".
    """

    def __init__(self, transposed: bool = False, strip_prefix: str = "") -> None:
        self.transposed, self.strip_prefix = transposed, strip_prefix

    def __call__(self, sources: Sequence[str]) -> FeatureSource:
        """Folders -> videos (see `folders.npy_folders`)."""
        return npy_folders(sources, transposed=self.transposed, strip_prefix=self.strip_prefix)


class NpzFolder(Layout):
    """A folder of `<id>.npz`, one array a stream.

    Args:
        keys: the arrays to join, in column order.
        transposed, strip_prefix: as in `NpyFolders`.
    """

    def __init__(
        self, keys: Sequence[str] = ("feat_spa", "feat_tem"), transposed: bool = False, strip_prefix: str = ""
    ) -> None:
        self.keys, self.transposed, self.strip_prefix = keys, transposed, strip_prefix

    def __call__(self, sources: Sequence[str]) -> FeatureSource:
        """One folder -> videos (see `folders.npz_folder`)."""
        (folder,) = _exactly(1, "npz", sources)
        return npz_folder(folder, keys=self.keys, transposed=self.transposed, strip_prefix=self.strip_prefix)


class WtalcRelease(Layout):
    """The features file of a W-TALC release and its *-Annotations folder."""

    def __call__(self, sources: Sequence[str]) -> FeatureSource:
        """File and folder -> videos (see `wtalc.wtalc_release`)."""
        return wtalc_release(*_exactly(2, "wtalc", sources))


def _exactly(count: int, layout: str, sources: Sequence[str]) -> Sequence[str]:
    if len(sources) != count:
        raise ConfigError(f"--format {layout} reads {count} sources (see --help), got {len(sources)}.")
    return sources
