"""Which language texts seem to be of, by their script and their commonest words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

_SURE = 0.04
"""Share of the words that are common words of a language, from which texts are of it."""
_COMMON = {
    "en": "the of and a an to in is are with on for from by at this that it its as or not there was has two",
    "fr": "le la les un une des du de et est dans avec sur pour par au aux ce cette qui que en très sont pas plus deux",
    "de": "der die das ein eine einen und ist im in mit auf für von zu den dem des nicht sehr sind auch aus zwei",
    "es": "el la los las un una unos de del y es en con por para al se que muy son este esta sobre más dos",
    "it": "il lo la i gli le un una uno di del della e è in con per su da che molto sono questo questa al due",
    "pt": "o a os as um uma de do da dos das e é em no na com por para que muito são este esta ao mais dois",
    "nl": "de het een en is in met op voor van te den aan dat die zeer zijn ook uit niet bij twee naar",
}
"""By code of ISO 639-1. Words of several languages count for each of them."""
NAMES = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch",
}  # fmt: skip


def guess_language(texts: Iterable[str]) -> str | None:
    """The code of the language of texts, or the name of a script that is not Latin; None if they do not tell.

    Names of one or two words have none of the words that tell; whoever needs to know more has to look them up.

    >>> guess_language(["un petit rond rouge", "le chat est sur la table"])
    'fr'
    >>> guess_language(["苹果", "香蕉"])
    'CJK'
    """
    together = " ".join(texts)
    scripts = Counter(unicodedata.name(letter, "?").split()[0] for letter in together if letter.isalpha())
    if scripts and (script := scripts.most_common(1)[0][0]) != "LATIN":
        return script if script == "CJK" else script.capitalize()
    words = Counter(re.findall(r"[^\W\d_]+", together.lower()))
    found = {code: sum(words[word] for word in set(common.split())) for code, common in _COMMON.items()}
    best, second = sorted(found, key=lambda code: -found[code])[:2]
    sure = found[best] >= max(3, _SURE * words.total()) and found[best] > 1.2 * found[second]
    return best if sure else None
