"""The formats of what is written, by number, and which version of the package reads each.

Each version reads one format of each kind and refuses all others. Once a version is out with the highest
number, any change of what is written takes the next one: another key of the configuration, say, or another
order of the variables. Standard library only: edge devices read bundles with it.
"""

from semi_anogan import __version__

# Format -> the version that writes and reads it. The highest is that of now.
RUN_FOLDERS = {1: "0.1", 2: "0.2"}  # in config.json, which has no number in format 1
BUNDLES = {1: "0.1", 2: "0.1", 3: "0.2"}  # in bundle.json
MODELS = {1: "0.1", 2: "0.2"}  # of a saved SemiAnoGAN, whose config has no number in format 1


def refusal(what, found, versions: dict[int, str], instead: str) -> str | None:
    """Why something is not read, in one line; None where it is of the format of now.

    Args: what: the file, say; found: its format, as it says; versions: the table of its kind; instead: what
      to do now, such as "train again".
    """
    now = max(versions)
    here = f"this is {'.'.join(__version__.split('.')[:2])}, which reads format {now}: {instead}"
    if type(found) is not int or found < 1:
        told = "no format number" if found is None else f"format {found!r}"
        return f"{what}: has {told}, as no version of semi_anogan writes it; {here}"
    if found > now:
        return f"{what}: format {found} is newer than this version reads; {here}, or install a newer version"
    if found == now:
        return None
    return f"{what}: format {found} is read by semi_anogan {versions[found]}; {here}, or install that version"
