"""What a score can be made of: one table of the components. Each is built so that higher is more abnormal."""

from collections.abc import Iterable
from typing import NamedTuple


class Component(NamedTuple):
    """A component of the score.

    has_map: whether it says where in the image. needs_search: whether it is known only after the latent
      search.
    fitted: whether it is fitted to the pretrained features of the training images, once the networks are
      trained.
    trained_on_known: whether the known abnormal images trained it, so that it tells those apart whatever it
      makes of others.
    locates: whether it makes the map, whatever it weighs in the score: it compares or tells places of the
      pretrained features. What a generator cannot redraw lies about a defect more than in it.
    unlabelled: whether it finds defects that nobody has labelled, on any data: it knows normal images alone.
    voices: how much it counts beside others where no known defect says otherwise.
    """

    name: str
    has_map: bool = True
    needs_search: bool = False
    fitted: bool = False
    trained_on_known: bool = False
    locates: bool = False
    unlabelled: bool = False
    voices: float = 1.0


COMPONENTS = (
    # What the search compares, at the latents it found: pixels, pretrained features, discriminator features.
    Component("residual", needs_search=True),
    # It sees one size of the image, and does not see what its generator draws as well: it counts half.
    Component("feature_residual", needs_search=True, unlabelled=True, voices=0.5),
    Component("feature_distance", needs_search=True),
    # Minus the discriminator's logit.
    Component("discriminator", trained_on_known=True),
    # Minus the patch discriminator's logit.
    Component("patches", trained_on_known=True, locates=True),
    # Distance of the worst patches to the nearest normal ones.
    Component("memory", fitted=True, locates=True, unlabelled=True),
    # To the known defects; where none is known, to hidden or synthetic ones.
    Component("likeness", fitted=True, locates=True),
    # Log-odds of the whole image, where many defects are known.
    Component("classifier", has_map=False, fitted=True),
    # Log-odds of the worst places, where a network learned to find synthetic and known defects.
    Component("segmentation", fitted=True, trained_on_known=True, locates=True),
)
BY_NAME = {component.name: component for component in COMPONENTS}
NAMES = tuple(BY_NAME)


def names_where(**properties) -> tuple[str, ...]:
    """The names of the components of these properties, in order: names_where(needs_search=True), say."""
    return tuple(
        c.name for c in COMPONENTS if all(getattr(c, key) == value for key, value in properties.items())
    )


def searches(chosen: Iterable[str]) -> bool:
    """Whether any of the chosen components needs the latent search; none chosen stands for all."""
    return any(BY_NAME[name].needs_search for name in list(chosen) or NAMES if name in BY_NAME)


def check(chosen: Iterable[str], off: Iterable[str] = ()):
    """ValueError unless these are components, one of which makes a map; none chosen stands for all.

    off: the components that the settings switch off.
    """
    chosen = list(chosen)
    unknown = [name for name in chosen if name not in BY_NAME]
    if unknown:
        raise ValueError(f"score.components must be among {', '.join(NAMES)}, got {', '.join(unknown)}")
    if chosen and not set(chosen) - set(off) - set(names_where(has_map=False)):
        unused = [name for name in chosen if name in off]
        why = f"the settings switch off {', '.join(unused)}; " if unused else ""
        without = names_where(has_map=False)
        what = f"{' and '.join(without)} {'does' if len(without) == 1 else 'do'} not"
        raise ValueError(
            f"score.components: {why}at least one must make a map, which {what}; got {', '.join(chosen)}"
        )
