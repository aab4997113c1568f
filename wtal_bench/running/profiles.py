"""Named settings of a recipe: `profiles` in its file, one of them merged in when the recipe is read.

What made a published number is often another way to pick the checkpoint than an honest run's. A recipe keeps both::

    profiles = dict(published=dict(train=dict(selection='best_on_test', select_by='mAP@0.5', val_interval=1)))

and `profile=published` (among `--cfg-options` or in the file, `--profile published` of `train`) takes the second.
"honest", the default, is the recipe as it stands. A profile may change any section, key by key as a recipe changes its
base; options of the command line come after it. A parent that `train.init_from` trains first has the profile of its
child. What a run keeps is the plain result and the profile's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.overlay import overlaid

MAY_CHANGE = ("model", "train", "test", "data", "runtime")
"""Sections a profile may speak of."""


def with_profile(tree: Mapping[str, Any], name: str | None, where: str) -> dict[str, Any]:
    """Return a recipe's tree with one of its profiles merged in, and without `profiles`.

    Args:
        tree: nested dicts, as `recipes.read_tree` gives them; not changed.
        name: the profile asked for; None takes the file's own `profile`, or else "honest".
        where: the file, for error texts.

    Raises:
        ConfigError: there is no such profile, or `profiles` is not what it should be.
    """
    profiles = tree.get("profiles")
    rest = {key: value for key, value in tree.items() if key != "profiles"}
    asked = name if name is not None else tree.get("profile")
    if profiles is None and asked == tree.get("profile"):
        return rest  # nothing to choose from; a config that a run kept has its profile in it already
    profiles = {} if profiles is None else profiles
    _check(profiles, where)
    asked = HONEST if asked is None else asked
    if asked != HONEST and asked not in profiles:
        known = list(dict.fromkeys((HONEST, *profiles)))
        raise ConfigError(
            f"{where}: there is no profile {asked!r}.{did_you_mean(str(asked), known)} It has {listing(known)}; a "
            "profile is a section of `profiles` in the config, with the settings it changes."
        )
    rest = overlaid(rest, profiles.get(asked, {}), f"{where}: profiles.{asked}")
    return {**rest, "profile": asked} if asked != HONEST or name is not None else rest


def _check(profiles: Any, where: str) -> None:
    if not isinstance(profiles, Mapping):
        raise ConfigError(f"{where}: profiles must be a dict of settings by profile, got {profiles!r}.")
    for name, settings in profiles.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise ConfigError(f"{where}: profiles: {name!r} is no name; take letters, digits and underscores.")
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{where}: profiles.{name} must be a dict of the settings it changes, got {settings!r}.")
        for key in settings:
            if key not in MAY_CHANGE:
                raise ConfigError(
                    f"{where}: profiles.{name}.{key}: no section that a profile may change."
                    f"{did_you_mean(str(key), MAY_CHANGE)} Those are {listing(MAY_CHANGE)}."
                )
