"""The language table and its loader: every entry is whole, in its own script, and recognisable by an identifier."""

import itertools
import re
import subprocess
import sys

import pytest
import regex
import yaml

from sp3f_verl import languages
from sp3f_verl.languages.entry import QUICKSTART_LENGTH, QUICKSTART_TEMPLATES, Quickstart

SP3F = ("ar", "bn", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "sw", "te", "th", "yo", "zh")
# CroCo's and MDPO's, and what these and SP3F's are mixed up with.
CROCO_AND_MDPO = "cy da de en es fi fr ga gl is it ja mt nl no pt ru sv zh".split()
OTHERS = "bg ca cs el fa he hu mr ms nb ne pl ro sk ta tr uk ur vi".split()
WMT = "et fil gu hr kn lt lv ml pa sl sr zu".split()  # the other targets of WMT24++
KNOWN = tuple(sorted({*SP3F, *CROCO_AND_MDPO, *OTHERS, *WMT}))
QUICKSTART = ("ar", "de", "en", "es", "fr", "hi", "ko", "ru", "sw", "zh")
ANSWERS = ("add_answer", "sub_answer", "sum_answer")
PLACEHOLDER = re.compile(r"\{\w*\}")


@pytest.fixture(autouse=True)
def _shipped_table_only(monkeypatch):
    monkeypatch.delenv("SP3F_LANGUAGES", raising=False)


def shipped():
    """The shipped entries as plain data: code -> entry."""
    return yaml.safe_load(languages.TABLE.read_text(encoding="utf-8"))


def extra_table(tmp_path, monkeypatch, entries):
    """Write `entries` as a user's own table, point SP3F_LANGUAGES at it and give back its path."""
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(entries, allow_unicode=True), encoding="utf-8")
    monkeypatch.setenv("SP3F_LANGUAGES", str(file))
    return file


def script_share(text, scripts):
    """Share of the letters of `text`, \\boxed and placeholders aside, that belong to one of `scripts`."""
    letters = regex.findall(r"\p{L}", PLACEHOLDER.sub("", text.replace(r"\boxed{}", "")))
    pattern = regex.compile("[" + "".join(rf"\p{{Script={script}}}" for script in scripts) + "]")
    return sum(bool(pattern.match(letter)) for letter in letters) / len(letters)


def answers(block, work=""):
    """Every answer line of a quickstart block, name x object x template, with `work` for the equation."""
    for name, noun, key in itertools.product(block.names, block.objects, ANSWERS):
        yield getattr(block, key).replace("{name}", name).replace("{object}", noun).replace("{work}", work)


def test_the_table_holds_the_languages_of_the_recipes():
    assert len(KNOWN) >= 30 and languages.codes() == KNOWN
    assert tuple(language.code for language in languages.all_languages()) == KNOWN
    assert {code for code in KNOWN if languages.get(code).quickstart} == set(QUICKSTART)
    keys = re.findall(r"^['\"]?(\w+)['\"]?:", languages.TABLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(keys) == len(set(keys)), "YAML keeps the last of two entries of one code without a word"


def test_every_entry(subtests):
    for code in KNOWN:
        with subtests.test(language=code):
            check_entry(code)


def check_entry(code):
    language = languages.get(code)
    assert re.fullmatch(r"[a-z]{3}", language.iso639_3)
    assert re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", language.flores)
    assert re.fullmatch(r"[a-z]{2,3}_[A-Z]{2}", language.locale)
    assert regex.fullmatch(r"\p{L}+", "".join(language.markers) or "x") and code not in language.confusables
    assert isinstance(language.scripts, tuple) and isinstance(language.confusables, tuple)
    assert isinstance(hash(language), int)
    assert language.instruction.count(r"\boxed{}") == 1 and "\n" not in language.instruction
    assert language.answer_sentence.count("{answer}") == 1
    assert PLACEHOLDER.findall(language.answer_sentence) == ["{answer}"]
    for text in (language.native_name, language.instruction, language.answer_sentence):
        assert script_share(text, language.scripts) == 1, text


def test_codes_of_other_standards_name_one_language_each():
    same = {"nb", "no"}  # Norwegian is written as Bokmål where nothing else is said
    for field in ("iso639_3", "flores", "native_name"):
        values = [getattr(language, field) for language in languages.all_languages() if language.code not in same]
        assert len(set(values)) == len(values), field


def test_a_sentence_begins_with_the_place_that_has_the_code():
    with pytest.raises(
        languages.UnknownLanguage, match=r"^--languages: unknown language 'esp': the closest .* es \(Sp"
    ):
        languages.get("esp", "--languages")


def test_two_languages_that_are_mixed_up_say_so_of_each_other():
    pairs = "es-pt es-gl pt-gl id-ms ja-zh hi-mr hi-ne mr-ne nb-da da-sv nb-sv cs-sk ru-uk ru-bg uk-bg ar-fa".split()
    pairs += ["fa-ur", "hr-sl", "lt-lv"]
    for pair in pairs:
        one, other = map(languages.get, pair.split("-"))
        for a, b in ((one, other), (other, one)):
            assert {b.code, *b.labels} & set(a.confusables), f"{b.code} is missing from the confusables of {a.code}"


def test_markers_tell_two_languages_apart():
    indonesian, malay = (set(languages.get(code).markers) for code in ("id", "ms"))
    assert len(indonesian) > 50 and len(malay) > 50 and not indonesian & malay


def test_every_quickstart_block(subtests):
    for code in QUICKSTART:
        with subtests.test(language=code):
            check_quickstart_block(code)


def check_quickstart_block(code):
    language = languages.get(code)
    block = language.quickstart
    assert set(Quickstart.model_fields) == {"names", "objects"} | set(QUICKSTART_TEMPLATES)
    assert len(block.names) == len(block.objects) == QUICKSTART_LENGTH
    for key, wanted in QUICKSTART_TEMPLATES.items():
        template = getattr(block, key)
        assert set(PLACEHOLDER.findall(template)) == {f"{{{name}}}" for name in wanted}
        assert r"\boxed" not in template and "\n" not in template
        assert script_share(template, language.scripts) == 1, template
    for word in (*block.names, *block.objects):
        assert script_share(word, language.scripts) == 1, word
    # Han and Hangul say in one letter what others say in two or more.
    enough = 10 if set(language.scripts) & {"Han", "Hangul"} else 15
    for line in answers(block):
        assert len(regex.findall(r"[\p{L}\p{M}]", line)) >= enough, line


def test_no_answer_reads_the_same_in_two_languages_or_to_two_questions():
    per_language = {code: set(answers(languages.get(code).quickstart)) for code in QUICKSTART}
    lines = set().union(*per_language.values())
    assert all(len(found) == 2 * QUICKSTART_LENGTH**2 + 1 for found in per_language.values())
    assert len(lines) == sum(map(len, per_language.values()))


@pytest.mark.parametrize("work", ["", "7+5=12"])
def test_an_identifier_recognises_every_answer(work):
    langid = pytest.importorskip("py3langid.langid")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    wanted = set(SP3F).union(*(language.confusables for language in languages.all_languages()))
    identifier.set_languages(sorted(wanted & set(identifier.labels)))
    for code in QUICKSTART:
        for line in answers(languages.get(code).quickstart, work):
            assert identifier.classify(line)[0] == code, line


@pytest.mark.parametrize(
    "value, closest",
    [
        ("swa", "sw (Swahili)"),
        ("germn", "de (German)"),
        ("español", "es (Spa"),
        ("EN", "en (English)"),
        ("xyzzy", "ar, bg, bn"),
        (None, "known codes are"),
    ],
)
def test_unknown_language_says_what_to_do(value, closest):
    with pytest.raises(languages.UnknownLanguage) as caught:
        languages.get(value)
    sentence = str(caught.value)
    assert repr(value) in sentence and closest in sentence and "\n" not in sentence
    assert "add an entry to sp3f_verl/languages/table.yaml or point SP3F_LANGUAGES at your own table" in sentence


def test_an_unhashable_value_is_an_unknown_language():
    with pytest.raises(languages.UnknownLanguage):
        languages.get(["en"])


def test_own_table_adds_and_replaces(tmp_path, monkeypatch):
    entry = shipped()["id"] | {"confusables": []}
    mine = {"jv": entry | {"english_name": "Javanese"}, "id": entry | {"decimal_comma": False}}
    extra_table(tmp_path, monkeypatch, mine)
    assert languages.get("jv").english_name == "Javanese" and languages.get("jv").quickstart is None
    assert languages.get("id").decimal_comma is False
    assert languages.codes() == tuple(sorted((*KNOWN, "jv")))
    monkeypatch.delenv("SP3F_LANGUAGES")
    assert languages.codes() == KNOWN and languages.get("id").decimal_comma is True


@pytest.mark.parametrize(
    "field, value",
    [
        ("flores", None),
        ("locale", None),
        ("labels", [False]),
        ("markers", "karena"),
        ("flores", ""),
        ("instruction", "Reason in English."),
        ("answer_sentence", "The answer."),
        ("answer_sentence", "{answer} is {answer}."),
        ("decimal_comma", "yes"),
        ("scripts", []),
        ("scripts", "Latin"),
        ("confusables", [False]),
        ("confusables", ["English"]),
        ("confusables", ["xx"]),
        ("quickstart", ["Anna"]),
        ("colour", "blue"),
        ("quickstart.names", ["Anna", "Omar"]),
        ("quickstart.objects", ["apples", "books", 3]),
        ("quickstart.sum_answer", "The result is {result}."),
        ("quickstart.add_answer", "{name} has {work}."),
        ("quickstart.sum_question", "What is {work}} ?"),
        ("quickstart.sum_question", None),
        ("quickstart.extra", "What?"),
    ],
)
def test_malformed_entry_is_named(tmp_path, monkeypatch, field, value):
    entry = shipped()["en"]
    *path, last = field.split(".")
    block = entry[path[0]] if path else entry
    block[last] = value
    if value is None:
        del block[last]
    file = extra_table(tmp_path, monkeypatch, {"xx": entry})
    with pytest.raises(ValueError) as caught:
        languages.codes()
    sentence = str(caught.value)
    assert re.match(rf"{re.escape(f'{file}: xx.{field}')}(\[\d\])?(=| is| does not exist)", sentence), sentence
    assert "; " in sentence or " must hold " in sentence or " holds " in sentence or " must be " in sentence, sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "text, expected",
    [
        ("no: {}", "False is no code of two or three small letters"),
        ("xx: 3", "xx=3 is not a block"),
        ("- xx", "maps language codes to entries"),
        ("xx: [", "cannot be read as YAML"),
        (None, "cannot be read as YAML"),
    ],
)
def test_unusable_table_is_named(tmp_path, monkeypatch, text, expected):
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("SP3F_LANGUAGES", str(file))
    with pytest.raises(ValueError) as caught:
        languages.get("en")
    assert str(caught.value).startswith(f"{file}: ") and expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_import_is_cheap():
    code = "import sys, sp3f_verl.languages; print({'yaml', 'torch', 'ray', 'verl', 'numpy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert answer.strip() == "set()"
