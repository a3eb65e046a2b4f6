"""In which language an answer is, where it is not in the one that was asked for."""

from collections import Counter

from sp3f_verl.rewards.fidelity.identify import ENGLISH, UnsupportedLanguage, contest_of, letters_won
from sp3f_verl.rewards.fidelity.language import MIN_LETTERS, running_text


def language_found(text: str, language: str, others: tuple[str, ...] = ()) -> tuple[float | None, str | None]:
    """(share of `language` as `language_share` has it, the language with most letters of `text`).

    The second is looked for among `language`, English, `others` and those that share a script with one of them; None
    where none of them has a letter. (None, None) where too few letters remain to tell.
    Raises UnsupportedLanguage for a `language` that nothing here can recognise.
    """
    others = tuple(sorted({*others, ENGLISH} - {language}))
    contest = contest_of(language, others)
    judged, letters = running_text(text, contest)
    if letters < MIN_LETTERS:
        return None, None
    won = Counter(letters_won(judged, contest))
    share = won[language] / letters
    seen = set(contest.codes)
    for other in others if 2 * won[language] <= letters else ():  # else nothing can have more
        if other not in seen:  # another script
            try:
                contest = contest_of(other, tuple(code for code in others if code != other))
            except UnsupportedLanguage:
                continue
            won += Counter({code: n for code, n in letters_won(judged, contest).items() if code not in seen})
            seen.update(contest.codes)
    return share, max(won, key=lambda code: (won[code], code), default=None)
