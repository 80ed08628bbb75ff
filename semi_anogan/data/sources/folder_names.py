"""What names of folders mean: which hold normal images, splits, masks, or nothing to learn from.

Names are compared without case, `-`, `_` and spaces, and without the word images at their end. The tables
here are the only place that knows spellings.
"""

import difflib
import re
import unicodedata

from semi_anogan.data.dataset import ABNORMAL, NORMAL

GOOD = frozenset("good ok okay normal".split())
# Names that could be meant as good ones, which a person has to say.
PERHAPS_GOOD = frozenset(
    (
        "pass passed passing fine io gut healthy clean negative negatives neg undamaged intact accept "
        "accepted "
        "acceptable 0 class0 label0 goods oks normals okays perfect flawless faultless spotless correct "
        "conform conforming conformant compliant reference golden standard valid sound unbroken unharmed "
        "inordnung bueno bon bien buono normale gutteil gutteile fehlerfrei fehlerlos einwandfrei "
        "mangelfrei ohnefehler ohnedefekt sansdefaut sindefectos sano buena bonne buoni conforme correcto "
        "pristine virgin flawfree "
        "正常 合格 良品 良 好 無欠陥 无缺陷 無缺陷 非缺陷 정상 양품 норма годен годные"
    ).split()
)
# Names that say nothing of a defect: as such in a folder of a split, or of images of all kinds.
SAY_NOTHING = frozenset(
    (
        "image images img imgs rgb picture pictures photo photos data dataset sample samples part parts all "
        "unknown unlabeled unlabelled unsorted unclassified unsure uncertain unclear undecided unbekannt "
        "unklar todo review tocheck tobechecked pending borderline grenzfall new newfolder neuerordner "
        "true false yes no pos positive positives"
    ).split()
)
BAD_LABELS = frozenset(
    (
        "abnormal abnormals bad defect defects defective defected nok ng ko nogood notgood notok nio anomaly "
        "anomalies anomalous faulty fault faults fail failed fails failure broken damage damaged reject "
        "rejected "
        "rejects scrap error errors flaw flaws nonconforming unhealthy"
    ).split()
)
BAD = BAD_LABELS | frozenset(
    (
        "dirty crack cracks cracked scratch scratches scratched dent dents hole holes stain stains "
        "contamination contaminated 1"
    ).split()
)
TRAIN = frozenset("train training".split())
TEST = frozenset("test testing".split())
PERHAPS_TRAIN = frozenset("learn learning lernen fit fitting teach teachin".split())
PERHAPS_TEST = frozenset("validation val valid validate eval evaluation dev holdout heldout".split())
MASKS = frozenset("groundtruth groundtruths gt mask masks label labels".split())
# Words of names of folders that hold masks if their files look like masks.
PERHAPS_MASKS = MASKS | frozenset(
    (
        "truth truths gts seg segs segmentation segmentations segmented annotation annotations anno annos "
        "annot annots annotated roi rois maske masken masque masques mascara mascaras maschera maschere "
        "マスク 掩码"
    ).split()
)
# Folders beside images that hold no images of their own; masks of what is ignored belong elsewhere.
SMALL = frozenset("thumb thumbs thumbnail thumbnails preview previews cache macosx ignore ignored".split())

_NEGATIONS = ("not", "no", "non", "un", "ab", "sub", "in", "dis", "without", "never")
_DENIALS = "不非未异異無无"  # before a word, in writing without spaces
_LIKENESS = 0.75  # above it a name is taken for a misspelt one


def plain(name: str) -> str:
    """A name as it is compared: without case, `-`, `_` and spaces, however its accents are encoded.

    Without images at its end too: train_images.
    """
    bare = re.sub(r"[-_\s]", "", unicodedata.normalize("NFC", name.casefold()))
    return re.sub(r"(?<=.)(images?|imgs?)$", "", bare)


def meant_by(word: str) -> str | None:
    """The label or split that a word of a list stands for: normal, abnormal, train or test; None: none."""
    known = {NORMAL: GOOD, ABNORMAL: BAD_LABELS, "train": TRAIN, "test": TEST}
    return next((meaning for meaning, words in known.items() if plain(word) in words), None)


def is_perhaps_test(name: str) -> bool:
    """Whether a folder could be meant as that of the test images."""
    return plain(name) in PERHAPS_TEST or plain(name).startswith("test") and plain(name) not in TEST


def is_perhaps_train(name: str) -> bool:
    """Whether a folder could be meant as that of the training images."""
    return plain(name) in PERHAPS_TRAIN or plain(name).startswith("train") and plain(name) not in TRAIN


def inner_kind(kind: str, inner: str) -> str:
    """The kind of defect of images in a folder within that of a kind: of NG/cut it is cut, as of cut/lot1.

    The inner name is one where the outer says no more than that there is a defect. Names with digits are
    those of lots, parts and days.
    """
    is_kind = plain(kind) in BAD_LABELS and not says_nothing(inner) and not re.search(r"\d", inner)
    return inner if is_kind else kind


def is_split(name: str) -> bool:
    """Whether a folder within one of a label is named as one of training or of test images."""
    return plain(name) in TRAIN | TEST | {"validation", "val"}


def is_masks(name: str) -> bool:
    """Whether a folder is one of masks."""
    return plain(name) in MASKS


def may_be_masks(name: str) -> bool:
    """Whether a folder could be one of masks, by a word of its name: defect_masks, annotations."""
    return bool(set(_words(name)) & PERHAPS_MASKS) or plain(name).endswith(("mask", "masks"))


def is_no_kind(name: str) -> bool:
    """Whether a folder within those of images holds masks or reduced copies, and none to read."""
    return plain(name).strip("._") in MASKS | SMALL


def says_nothing(name: str) -> bool:
    """Whether a name within a split says neither good nor which defect, so that a person has to be asked."""
    return plain(name) in SAY_NOTHING


def is_bad(name: str) -> bool:
    """Whether a folder or file among normal ones is named as one of defects: bad, crack, old_rejects."""
    short = plain(name)
    if short in BAD:
        return short != "1"
    return bool(set(_words(name)) & BAD_LABELS) and not _denies_a_defect(name, short)


def has_good(name: str) -> bool:
    """Whether a file among those of defects is named as a good one: OK_1, part-good."""
    words = set(_words(name))
    return bool(words & GOOD) and not words & {*_NEGATIONS, *BAD_LABELS}


def is_perhaps_good(name: str) -> bool:
    """Whether a name that is none of GOOD could be meant as one, so that a person has to be asked."""
    short = plain(name)
    if short in BAD or short in GOOD:
        return False
    bare = re.sub(r"\W", "", short)  # i.O., (ok)
    if bare in BAD:
        return False
    if bare in PERHAPS_GOOD | GOOD or _denies_a_defect(name, short):
        return True
    words = _words(name)
    if set(words) & set(_NEGATIONS) or set(words) & {"nok", "ng", "nogood", "ungood", "abnormal"}:
        return False  # not_good, no good
    if words and (words[0] in GOOD | {"pass", "passed"} or words[-1] in GOOD | {"pass", "passed", "free"}):
        return True
    if set(words) & (PERHAPS_GOOD - {"0"}) and not set(words) & (BAD - {"1"}):  # healthy_leaf, clean-parts
        return True
    if _says_well_without_spaces(short):
        return True
    return _begins_or_ends_well(short) or not _is_denied(short) and _is_misspelt(short)


def _words(name: str) -> list[str]:
    """The words of a name: at separators, digits and capital letters."""
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)]


def _denies_a_defect(name: str, short: str) -> bool:
    """no_defects, defect-free, undamaged, non_defective, without_anomaly."""
    bad = BAD - {"1", "nok", "ng", "nogood", "notgood", "notok", "nio", "abnormal", "abnormals"}
    if any(short.removeprefix(n) in bad for n in ("not", "no", "non", "un", "without", "zero") if short != n):
        return short not in bad
    return short.endswith(("free", "less")) and short[:-4] in bad


def _begins_or_ends_well(short: str) -> bool:
    beginning = any(short.startswith(word) for word in GOOD)
    ending = any(short.endswith(word) for word in GOOD) and not short.endswith(("ook", "nok"))  # hook, nok
    return beginning or ending and not _is_denied(short)


def _says_well_without_spaces(short: str) -> bool:
    """正常品, not 不良品: a word of PERHAPS_GOOD of two signs or more within a name."""
    words = (word for word in PERHAPS_GOOD if not word.isascii() and not word.islower() and len(word) > 1)
    found = [short.partition(word)[0] for word in words if word in short]
    return bool(found) and not any(before.endswith(tuple(_DENIALS)) for before in found)


def _is_denied(short: str) -> bool:
    """no_good, abnormal, unnormal."""
    return any(short.endswith(negation + word) for negation in _NEGATIONS for word in GOOD)


def _is_misspelt(short: str) -> bool:
    def nearest(words) -> float:
        return max(difflib.SequenceMatcher(None, short, word).ratio() for word in words)

    long = [word for word in GOOD if len(word) >= 4]
    if any(sorted(short) == sorted(word) for word in long):  # letters that changed places
        return True
    return nearest(long) > max(_LIKENESS, nearest(BAD))
