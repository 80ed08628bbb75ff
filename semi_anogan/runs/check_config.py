"""Whether a configuration can be run: every setting in its range, and what must fit together."""

from semi_anogan import components
from semi_anogan.config import SECTIONS, check_ranges, default, words
from semi_anogan.data.synthetic import KINDS
from semi_anogan.errors import ConfigError
from semi_anogan.networks.schedule import Schedule


def check(config):
    """ConfigError for the first setting that is out of its range or does not fit the others."""
    for section in SECTIONS:
        check_ranges(section, **config[section])
    if not config.features.name:
        off = ["patches", "feature_residual", *components.names_where(fitted=True)]
    else:
        off = [name for name in components.names_where(fitted=True) if not config.parts[name]]
        off += [] if config.features.patch_discriminator else ["patches"]
        _check_enlarged(config.features.resolution, config.model.resolution)
    strange = set(words(config.batches.synthetic_kinds)) - set(KINDS)
    if strange:
        raise ConfigError(
            f"batches.synthetic_kinds must be made of {', '.join(KINDS)}, "
            f"got {config.batches.synthetic_kinds!r}"
        )
    try:
        components.check(words(config.score.components), off)
        Schedule(resolution=config.model.resolution, **config.schedule)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_enlarged(side: int, resolution: int):
    # Who asks for larger images alone has not asked for this: the features then see them as they are.
    if side == default("features.resolution") < resolution:
        return
    if side not in [resolution * 2**k for k in range(8)]:
        raise ConfigError(f"features.resolution must be model.resolution times 1, 2, 4, ..., got {side!r}")
