"""How answers are written in a language: what a comma means, units, words that multiply, words beside the value.

CLDR's part (names of units and currencies, the words of compact numbers) comes through Babel by the `locale` of the
language's entry, so that a language that a user adds has it too; `units.yaml` and `words.yaml` hold what CLDR lacks.
"""

import functools
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.rewards.text import ascii_digits

UNITS, WORDS = Path(__file__).with_name("units.yaml"), Path(__file__).with_name("words.yaml")

# Our names of units -> CLDR's.
_CLDR_UNITS = {
    "degree": "angle-degree",
    "degreeC": "temperature-celsius",
    "degreeF": "temperature-fahrenheit",
    "%": "concentr-percent",
    "mm": "length-millimeter",
    "cm": "length-centimeter",
    "m": "length-meter",
    "km": "length-kilometer",
    "mile": "length-mile",
    "foot": "length-foot",
    "inch": "length-inch",
    "yard": "length-yard",
    "mg": "mass-milligram",
    "g": "mass-gram",
    "kg": "mass-kilogram",
    "lb": "mass-pound",
    "ounce": "mass-ounce",
    "tonne": "mass-metric-ton",
    "l": "volume-liter",
    "ml": "volume-milliliter",
    "gallon": "volume-gallon",
    "cup": "volume-cup",
    "s": "duration-second",
    "min": "duration-minute",
    "h": "duration-hour",
    "day": "duration-day",
    "week": "duration-week",
    "month": "duration-month",
    "year": "duration-year",
    "km/h": "speed-kilometer-per-hour",
    "m/s": "speed-meter-per-second",
    "mph": "speed-mile-per-hour",
    "square cm": "area-square-centimeter",
    "square m": "area-square-meter",
    "square km": "area-square-kilometer",
    "square foot": "area-square-foot",
    "square inch": "area-square-inch",
    "square mile": "area-square-mile",
    "hectare": "area-hectare",
    "acre": "area-acre",
    "cubic cm": "volume-cubic-centimeter",
    "cubic m": "volume-cubic-meter",
    "cubic foot": "volume-cubic-foot",
}
_CLDR_CURRENCIES = {
    "dollar": "USD",
    "euro": "EUR",
    "pound": "GBP",
    "yen": "JPY",
    "yuan": "CNY",
    "rupee": "INR",
    "taka": "BDT",
    "baht": "THB",
    "won": "KRW",
    "rouble": "RUB",
    "naira": "NGN",
    "dong": "VND",
    "lira": "TRY",
    "rupiah": "IDR",
    "real": "BRL",
    "shilling": "KES",
    "peso": "MXN",
}
_AMOUNTS = (1, 2, 3, 5, 11, 21, 100, 1.5)  # between them every plural form of every language
_LATIN_MARKS = re.compile("[\u0300-\u036f]")
_ARABIC_MARKS = re.compile("[\u0640\u064b-\u065f\u0670]")


@dataclass(frozen=True)
class Conventions:
    """What `quantity` and `structure` need to read an answer in one language."""

    comma: bool | None = None  # True: 1.234,5. False: 1,234.5. None: not known
    zero_groups: bool = False  # the comma is decimal, and yet 70,000 is what the language's own place writes for 70000
    comma_either: bool = False  # Arabic script: a comma that can be no group is decimal, though the point is, too
    noun_first: bool = False  # siku 3: the unit stands before the number
    units: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)  # folded spelling -> units
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)  # folded word -> what it multiplies by
    answer: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()  # "the answer is": no colon follows
    of: tuple[str, ...] = ()  # between a word that multiplies and what is counted: 5 millones de dólares
    per: tuple[str, ...] = ()  # 18 dollars per hour
    option: tuple[str, ...] = ()
    conjunctions: tuple[str, ...] = ()
    disjunctions: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()  # none where the language's are not known
    below_zero: tuple[str, ...] = ()  # those of them that say nothing else: "menos" is also fewer
    nought: tuple[str, ...] = ()  # what stands for places left out: 1万零500


def fold(spelling: str) -> str:
    """One form for the spellings of a unit or word: case counts in a symbol (m, M) and not in a word."""
    spelling = _ARABIC_MARKS.sub("", unicodedata.normalize("NFKC", spelling)).strip()
    return spelling if len(spelling) <= 2 else spelling.casefold()


def unmarked(spelling: str) -> str:
    """`spelling` without the marks on Latin letters, which are often left out, in words of four letters or more."""
    if len(spelling) < 4 or spelling.isascii():
        return spelling
    return unicodedata.normalize("NFC", _LATIN_MARKS.sub("", unicodedata.normalize("NFD", spelling)))


def conventions(language: str | None) -> Conventions:
    """Of a language code of the table, or of no language: units of all, no words. Raises UnknownLanguage."""
    if language is None:
        return _unknown()
    entry = languages.get(language)
    return _of(language, entry.locale, entry.decimal_comma, "Arab" in entry.scripts or "Arabic" in entry.scripts)


@functools.cache
def _unknown() -> Conventions:
    english = conventions("en")
    return Conventions(units=english.units, numbers={}, conjunctions=english.conjunctions, answer=english.answer)


@functools.cache
def _of(language: str, locale: str, comma: bool, arabic: bool) -> Conventions:
    cldr = _Cldr(locale)
    words, english = _words().get(language, {}), _words()["en"]
    numbers = {fold(word): value for word, value in english["numbers"].items()} | cldr.numbers()  # billion differs
    numbers |= {fold(word): value for word, value in words.get("numbers", {}).items()}
    units: dict[str, set[str]] = defaultdict(set)
    for spelling, names in (*_shipped_units(), *cldr.units(), *(_Cldr("en_US").units() if language != "en" else ())):
        for form in {spelling, unmarked(spelling)} - numbers.keys():
            units[form] |= names
    return Conventions(
        comma=comma,
        zero_groups=comma and cldr.decimal_point(),
        comma_either=arabic and not comma,
        noun_first=cldr.noun_first() or language in ("sw", "yo"),  # CLDR has Swahili's order and not Yoruba's
        units={spelling: frozenset(names) for spelling, names in units.items()},
        numbers=numbers,
        **{
            name: tuple(dict.fromkeys([*words.get(key, ()), *english[key]]))
            for name, key in (
                ("answer", "answer"),
                ("sentences", "is"),
                ("option", "option"),
                ("per", "per"),
                ("conjunctions", "and"),
                ("disjunctions", "or"),
            )
        },
        of=tuple(words.get("of", ())),
        minus=(*words.get("minus", ()), *words.get("below zero", ())),
        below_zero=tuple(words.get("below zero", ())),
        nought=tuple(words.get("nought", ())),
    )


@functools.cache
def all_words(key: str) -> tuple[str, ...]:
    """The words of `words.yaml` under `key` in all languages, the longest first."""
    words = {word for entry in _words().values() for word in entry.get(key, ())}
    return tuple(sorted(words, key=lambda word: (-len(word), word)))


@functools.cache
def _words() -> dict[str, dict]:
    import yaml

    # As answers are read: NFKC takes the vowel of the Thai word for "answer" apart.
    return yaml.safe_load(unicodedata.normalize("NFKC", WORDS.read_text(encoding="utf-8")))


@functools.cache
def _shipped_units() -> tuple[tuple[str, set[str]], ...]:
    import yaml

    table = yaml.safe_load(UNITS.read_text(encoding="utf-8"))
    return tuple((fold(spelling), {unit}) for unit, spellings in table.items() for spelling in [unit, *spellings])


class _Cldr:
    """What CLDR says of a locale; empty where it has none."""

    def __init__(self, locale: str):
        from babel import Locale, UnknownLocaleError

        try:
            self.locale = Locale.parse(locale)
        except (UnknownLocaleError, ValueError):
            self.locale = None

    def decimal_point(self) -> bool:
        return self.locale is not None and self.locale.number_symbols["latn"].get("decimal") == "."

    def noun_first(self) -> bool:
        return any(unit == "day" and first for unit, _, first in self._patterns())

    def units(self) -> list[tuple[str, set[str]]]:
        spellings = [(fold(word), {unit}) for unit, word, _ in self._patterns()]
        return spellings + [(fold(word), {unit}) for unit, word in self._currencies()]

    def _patterns(self) -> Iterator[tuple[str, str, bool]]:
        """(unit, its word, does it stand before the number?)"""
        from babel.units import UnknownUnitError, format_unit

        for unit, name in _CLDR_UNITS.items() if self.locale else ():
            for length in ("long", "short"):
                for amount in _AMOUNTS:
                    try:
                        text = ascii_digits(format_unit(amount, name, length, locale=self.locale))
                    except UnknownUnitError:
                        break
                    if (parts := _beside_number(text)) is not None:
                        yield unit, *parts

    def _currencies(self) -> Iterator[tuple[str, str]]:
        from babel.numbers import get_currency_name, get_currency_symbol

        for unit, code in _CLDR_CURRENCIES.items() if self.locale else ():
            names = {get_currency_name(code, count=amount, locale=self.locale) for amount in _AMOUNTS}
            yield from ((unit, word) for word in {code, *names, get_currency_symbol(code, locale=self.locale)})

    def numbers(self) -> dict[str, int]:
        """Words of compact numbers -> what they multiply by: लाख 100000, elfu 1000, 万 10000."""
        from babel.numbers import format_compact_decimal

        seen: dict[str, Counter[int]] = defaultdict(Counter)
        for power in range(3, 13) if self.locale else ():
            for amount in (1, 2, 5, 20, 21):
                value = amount * 10**power
                for form in ("long", "short"):
                    text = ascii_digits(format_compact_decimal(value, locale=self.locale, format_type=form))
                    parts = _beside_number(text)
                    shown = re.search(r"\d+", text)
                    if parts and shown and len(fold(parts[0])) > (1 if parts[0].isascii() else 0):
                        factor = value // int(shown[0])
                        if str(factor).strip("0") == "1":  # else the shown number was rounded
                            seen[fold(parts[0].rstrip("."))][factor] += 1
        return {word: max(counts, key=lambda value: (counts[value], value)) for word, counts in seen.items()}


def _beside_number(text: str) -> tuple[str, bool] | None:
    """(the one run of text beside the number, does it stand before it?); None where it stands around it, or alone."""
    before, number, after = re.fullmatch(r"(.*?)([\d.,\u066b\u066c]*\d|)(.*)", text, re.DOTALL).groups()
    before, after = before.strip(" \u00a0\u202f\u200f\u200e"), after.strip(" \u00a0\u202f\u200f\u200e")
    if not number or bool(before) == bool(after):
        return None
    return before or after, bool(before)


def unit_beside(text: str, start: int, end: int, conventions: Conventions) -> frozenset[str]:
    """The units of the number at text[start:end]: the longest spelling behind it that is one, else before it; a sign of
    money before it comes first, as in $10 an hour ("an" is a French year)."""
    after, before = text[end : end + 24].lstrip(" \u00a0"), text[max(0, start - 24) : start].rstrip(" \u00a0")
    behind = (
        after[:size]
        for size in range(min(len(after), 20), 0, -1)
        if size == len(after) or not (after[size - 1].isascii() and after[size - 1 : size + 1].isalpha())
    )
    ahead = (
        before[-size:]
        for size in range(min(len(before), 20), 0, -1)
        if size == len(before) or not (before[-size].isascii() and before[-size - 1 :][:2].isalpha())
    )
    money = before and unicodedata.category(before[-1]) == "Sc"
    spellings = itertools.chain(ahead, behind) if money else itertools.chain(behind, ahead)
    return next((units for each in spellings if (units := conventions.units.get(fold(each)))), frozenset())


def alternation(words: Iterable[str]) -> str:
    """A pattern of any of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
