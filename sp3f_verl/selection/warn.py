"""When a report on a preference set warns, and the report as markdown."""

from collections.abc import Callable

from sp3f_verl.stats.format import number, table

FEWEST = 20  # pairs of a language below which its shares warn of nothing
# (number, when it warns, what to look at). Ours; no source has any. Shares in [0, 1].
LIMITS: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("chosen_longer", lambda value: not 0.35 <= value <= 0.65, "length tells the sides apart"),
    ("length_ratio", lambda value: not 2 / 3 <= value <= 3 / 2, "the sides differ in length"),
    ("chosen_off_language", lambda value: value > 0.02, "the pairs teach to leave the language"),
    ("rejected_off_language", lambda value: value > 0.10, "the pairs are won by language, not by quality"),
    ("same_language", lambda value: value < 0.5, "most pairs compare two languages"),
    ("chosen_repetitive", lambda value: value > 0.02, "chosen sides repeat themselves"),
    ("rejected_repetitive", lambda value: value > 0.10, "many rejected sides are broken: an easy lesson"),
    ("near_duplicate", lambda value: value > 0.05, "such pairs say little"),
    ("tie", lambda value: value > 0.0, "chosen and rejected have the same score"),
    ("wrong_order", lambda value: value > 0.0, "chosen has the lower score"),
)
COUNTS = {
    "rows_with_a_repeated_prompt": "a split has to keep them together",
    "repeated_rows": "they count twice in training",
    "texts_chosen_and_rejected": "the same answer to the same prompt wins in one row and loses in another",
}
COLUMNS = ("pairs", "length_ratio", "chosen_longer", "chosen_off_language", "rejected_off_language", "same_language")
COLUMNS += ("near_duplicate", "tie", "rejected_repetitive", "margin")


def warnings_of(report: dict) -> list[str]:
    """One line for each number over its limit, of all pairs, or of a language or source where those of all are not."""
    overall = [limit for limit in LIMITS if _warns(report["overall"], limit)]
    told = [_line("", report["overall"], limit) for limit in overall]
    for kind in ("language", "source"):
        for name, group in report[f"by_{kind}"].items():
            if group["pairs"] >= FEWEST:
                told += [
                    _line(f"{kind} {name}: ", group, limit)
                    for limit in LIMITS
                    if limit not in overall and _warns(group, limit)
                ]
    told += [f"{name} is {report[name]}: {what}" for name, what in COUNTS.items() if report[name]]
    told += [f"unusable: {n} rows {reason}" for reason, n in report["unusable"].items()]
    told += [
        f"language {code} cannot be recognised, its off-language rate is not known" for code in report["not_recognised"]
    ]
    return told if report["overall"]["pairs"] else ["there is not one usable pair", *told]


def _warns(group: dict, limit: tuple) -> bool:
    name, over, _ = limit
    return group[name] is not None and over(group[name])


def _line(where: str, group: dict, limit: tuple) -> str:
    name, _, what = limit
    return f"{where}{name} is {group[name]:.3g}: {what}"


def markdown(report: dict) -> str:
    """The report as a section of a dataset card."""
    groups = [("all", report["overall"])]
    groups += [
        (f"{kind} {name}", each) for kind in ("language", "source") for name, each in report[f"by_{kind}"].items()
    ]
    rows = [[name, *(_cell(each[column]) for column in COLUMNS)] for name, each in groups]
    usable = report["overall"]["pairs"]
    lines = ["## Pairs", "", f"{usable} usable of {report['rows']} rows, {report['prompts']} prompts.", ""]
    lines += [table(["", *COLUMNS], rows), *(f"- Warning: {each}" for each in report["warnings"])]
    return "\n".join(lines).rstrip() + "\n"


def _cell(value: float | None) -> str:
    return str(value) if isinstance(value, int) else number(value)
