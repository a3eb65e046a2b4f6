"""lingua's opinion of the language share, to hold against py3langid's: optional, and never a reward by itself.

It reads the same segments and chooses among the same languages; only the identifier differs.
"""

import functools

from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.fidelity import identify
from sp3f_verl.rewards.fidelity.language import MIN_LETTERS, running_text


@functools.cache
def _detector(codes: tuple[str, ...]):
    """(lingua's detector of those of `codes` that it knows, its languages -> their codes)."""
    try:
        from lingua import IsoCode639_1, Language, LanguageDetectorBuilder
    except ImportError:
        raise BadInput(
            "the second opinion needs lingua, which is not installed; pip install 'sp3f-verl[lingua]'."
        ) from None
    by_code = {getattr(IsoCode639_1, name): name.lower() for name in dir(IsoCode639_1) if len(name) == 2}
    known = {one: by_code[one.iso_code_639_1] for one in Language.all()}
    known = {each: code for each, code in known.items() if code in codes}
    return LanguageDetectorBuilder.from_languages(*known).build() if len(known) > 1 else None, known


def lingua_share(text: str, language: str, others: tuple[str, ...] = ()) -> float | None:
    """`language_share` as lingua sees it. Raises `BadInput` without lingua and `UnsupportedLanguage` where it does not
    know the language (Galician, Maltese, Nepali)."""
    contest = identify.contest_of(language, tuple(sorted({*others, identify.ENGLISH} - {language})))
    text, letters = running_text(text, contest)
    if letters < MIN_LETTERS:
        return None
    detector, known = _detector(contest.codes)
    if len(contest.codes) == 1 or list(known.values()) == [language]:  # no rival that lingua knows: the script decides
        return identify.count(contest.own, text) / letters
    if language not in known.values():
        raise identify.UnsupportedLanguage(f"lingua has no model of {language!r}; ask py3langid alone")
    won = 0
    for segment in identify.segments(text):
        if known.get(detector.detect_language_of(segment)) == language:
            won += identify.count(contest.own, segment)
    return won / letters
