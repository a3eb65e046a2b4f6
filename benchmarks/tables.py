"""The documentation's generated tables: `python benchmarks/tables.py NAME [--write]`.

checker    ours against bare math-verify on tests/rewards/checker_cases.yaml, by kind (docs/rewards.md)
graders    ours beside the graders of verl, math-verify and MathRuler (where installed) on public cases by kind, which
           lie beside the folder that SP3F_REAL_DATA names (docs/rewards.md)
languages  the language table, and whether each is recognised (docs/languages.md)
confusion  paragraphs of three real sentences, read as every language of the run (docs/languages.md); needs the folder
           that SP3F_REAL_DATA names
architectures  what the check of the engine says of tiny models of 75 families (docs/architecture.md); 10 to 20 minutes
"""

import argparse
import contextlib
import functools
import os
import re
from collections import Counter
from pathlib import Path

import yaml

from sp3f_verl import languages
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share
from sp3f_verl.rewards.fidelity.second_opinion import lingua_share

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SP3F_REAL_DATA") or ROOT.parent / "shared" / "data")
PUBLIC = DATA.parent / "cases" / "rewards" / "answers.yaml"
CASES = ROOT / "tests" / "rewards" / "checker_cases.yaml"
SP3F = tuple("ar bn de en es fr hi id it ja ko pt ru sw te th yo zh".split())


def table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def bare_math_verify(answer: str, gold: str, delimiter: str = "") -> bool:
    """The original's check: both sides to math-verify as they stand (SPEC 1g-1), or between dollar signs."""
    from math_verify import parse, verify

    try:
        return bool(
            verify(
                *(parse(f"{delimiter}{side}{delimiter}", parsing_timeout=None) for side in (gold, answer)),
                timeout_seconds=None,
            )
        )
    except Exception:  # it raises on some; the original's caller counts that as wrong
        return False


def checker() -> str:
    rows, sums = [], Counter()
    for kind, cases in yaml.safe_load(CASES.read_text(encoding="utf-8")).items():
        wrong = Counter(equal=sum(case[2] for case in cases), unequal=sum(not case[2] for case in cases))
        for answer, gold, equal, *language in cases:
            verdicts = {
                "ours": answers_match(answer, gold, language=language[0] if language else None),
                "bare": bare_math_verify(answer, gold),
                "dollars": bare_math_verify(answer, gold, "$"),
            }
            for name, verdict in verdicts.items():
                wrong[f"{name} {'missed' if equal else 'false'}"] += verdict != equal
        sums += wrong
        rows.append([kind, *columns(wrong)])
    rows.append(["**all**", *(f"**{number}**" for number in columns(sums))])
    head = ["kind", "equal", "unequal"]
    head += [f"{name}: {what}" for name in ("ours", "bare", "in $") for what in ("missed", "false positive")]
    return table(head, rows)


def columns(wrong: Counter) -> list[int]:
    names = [f"{name} {what}" for name in ("ours", "bare", "dollars") for what in ("missed", "false")]
    return [wrong[name] for name in ("equal", "unequal", *names)]


def graders() -> str:
    """(missed / rewarded wrongly) by each grader; all but ours get the answer and the gold answer, and no language."""
    from verl.utils.reward_score import math_dapo, math_reward, prime_math

    graded = {
        "math-verify": bare_math_verify,
        "math-verify in $": lambda answer, gold: bare_math_verify(answer, gold, "$"),
        "verl math_reward": math_reward.is_equiv,
        "verl math_dapo": lambda *sides: len(set(map(math_dapo.normalize_final_answer, sides))) == 1,
        "verl prime_math": prime_math.grade_answer,
    }
    with contextlib.suppress(ImportError):
        from mathruler.grader import grade_answer

        graded["MathRuler"] = grade_answer
    wrong: dict[str, Counter] = {}
    for kind, language, answer, gold, equal, *checker in yaml.safe_load(PUBLIC.read_text(encoding="utf-8")):
        if checker:
            continue
        for name, grader in {"ours": functools.partial(answers_match, language=language), **graded}.items():
            try:
                verdict = bool(grader(answer, gold))
            except Exception:  # as a trainer counts it
                verdict = False
            for row in (kind, "**all**"):
                wrong.setdefault(row, Counter())[name, equal] += verdict != equal
    rows = [
        [kind, *(f"{found[name, True]} / {found[name, False]}" for name in ("ours", *graded))]
        for kind, found in sorted(wrong.items(), key=lambda item: item[0] == "**all**")
    ]
    return table(["missed / rewarded wrongly", "ours", *graded], rows)


def recognised(code: str) -> str:
    language = languages.get(code)
    try:
        share = language_share(language.instruction, code, languages.codes())
    except UnsupportedLanguage:
        return "no"
    return "yes" if share is not None and share >= 0.95 else f"{share}"


def language_table() -> str:
    rows = [
        [
            f"`{each.code}`",
            each.iso639_3,
            each.flores,
            each.locale,
            each.english_name,
            each.native_name,
            "3,5" if each.decimal_comma else "3.5",
            recognised(each.code),
        ]
        for each in languages.all_languages()
    ]
    return table(["code", "639-3", "FLORES", "locale", "English name", "native name", "decimals", "recognised"], rows)


def paragraphs(code: str) -> list[str]:
    """Of three sentences each; none where there is no file."""
    file = DATA / "sentences" / f"{code}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [" ".join(lines[start : start + 3]) for start in range(0, len(lines) - 2, 3)]


def confusion(second: bool = False) -> str:
    rows, sums = [], Counter()
    share = lingua_share if second else language_share
    for code in SP3F:
        found, others = Counter(), Counter()
        for text in paragraphs(code):
            own = share(text, code, SP3F)
            found.update(paragraphs=1, undefined=own is None, own=own is not None and own >= 0.9)
            for other in SP3F:
                if other != code and (share(text, other, SP3F) or 0) >= 0.7:
                    others[other] += 1
        sums += found + Counter(other=others.total())
        taken = ", ".join(f"{other} {number}" for other, number in others.most_common()) or "none"
        rows.append(
            [
                code,
                found["paragraphs"],
                f"{100 * found['own'] / max(1, found['paragraphs']):.1f} %",
                found["undefined"],
                taken,
            ]
        )
    own, other = (100 * sums[name] / max(1, sums["paragraphs"]) for name in ("own", "other"))
    rows.append(["**all**", sums["paragraphs"], f"**{own:.1f} %**", sums["undefined"], f"**{other:.1f} %**"])
    return table(["written in", "paragraphs", "share >= 0.9", "undefined", "share >= 0.7 of another language"], rows)


def families() -> str:
    from architectures import outcomes_by_family

    return table(*outcomes_by_family())


TABLES = {
    "checker": (checker, "rewards.md"),
    "graders": (graders, "rewards.md"),
    "languages": (language_table, "languages.md"),
    "confusion": (confusion, "languages.md"),
    "architectures": (families, "architecture.md"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=TABLES)
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    parser.add_argument("--lingua", action="store_true", help="confusion: lingua's opinion instead, only printed")
    options = parser.parse_args()
    make, document = TABLES[options.name]
    if options.name == "confusion" and not (DATA / "sentences").is_dir():
        parser.error(f"{DATA / 'sentences'} is not there: set SP3F_REAL_DATA to the folder that holds sentences/")
    try:
        text = confusion(second=True) if options.lingua else make()
    except BadInput as error:
        parser.error(str(error))
    if options.write and not options.lingua:
        file = ROOT / "docs" / document
        begin, end = (f"<!-- {edge}: benchmarks/tables.py {options.name} -->" for edge in ("begin", "end"))
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        file.write_text(
            pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", file.read_text(encoding="utf-8")), encoding="utf-8"
        )
    print(text)


if __name__ == "__main__":
    main()
