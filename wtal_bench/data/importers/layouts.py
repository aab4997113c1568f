"""The layouts of feature files that `import-features --layout` knows by name, built from its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wtal_bench.data.importers.files import Options, feature_files
from wtal_bench.data.importers.wtalc import is_release, wtalc_release
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Layout
from wtal_bench.structures import FeatureSource


class Recognised(Layout):
    """Files as extractors leave them; what they are is recognised and said (see `importers.files`).

    Args:
        pattern: how names are made, e.g. "{id}_{stream}.npy" or "{stream}/{id}.npz".
        keys: arrays of a file to join, in column order.
        transposed: the files hold [D,T] instead of [T,D]; None tells by several files.
        crop: "mean" of several crops, or the number of one.
        strip_prefix: text cut off the front of names to get ids, e.g. "v_".
    """

    def __init__(
        self,
        pattern: str = "",
        keys: Sequence[str] = (),
        transposed: bool | None = None,
        crop: str | int = "mean",
        strip_prefix: str = "",
    ) -> None:
        self.options = Options(pattern, tuple(keys), transposed, crop, strip_prefix)

    def __call__(self, sources: Sequence[str]) -> FeatureSource:
        """Files and folders -> videos."""
        if len(sources) == 2 and self.options == Options() and is_release(Path(sources[0]), Path(sources[1])):
            source = wtalc_release(*sources)
            return FeatureSource(source.ids, source.streams, source.read, source.tags, ("recognised a W-TALC release",))
        return feature_files(sources, self.options, self.known)


class WtalcRelease(Layout):
    """The features file of a W-TALC release and its *-Annotations folder."""

    def __call__(self, sources: Sequence[str]) -> FeatureSource:
        """File and folder -> videos (see `wtalc.wtalc_release`)."""
        if len(sources) != 2:
            raise ConfigError(f"--layout wtalc reads 2 sources (see --help), got {len(sources)}.")
        return wtalc_release(*sources)
