"""summary.json of an arena, and its tables for people. Rates in percent, counts whole; null where nothing is known."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sp3f_verl.evaluation.arena.cells import Outcome, cell, difference
from sp3f_verl.evaluation.arena.judging import Judgement
from sp3f_verl.evaluation.arena.pairs import Field
from sp3f_verl.evaluation.results import ArenaCandidate, ArenaCell, ArenaSummary, Gap, PairedGap
from sp3f_verl.stats.format import table


def summarise(field: Field, judgement: Judgement, ties: str, threshold: float, seed: int) -> ArenaSummary:
    """The first candidate's languages, categories and mean; those of `others`; all of them against each other. The
    baseline, the judge and the cost are the command's to add."""
    outcomes = [
        Outcome(pair, verdicts, *(verdicts.preference(credit, judgement.weights) for credit in (ties, "half")))
        for pair, verdicts in zip(field.pairs, judgement.verdicts, strict=True)
    ]
    by_candidate: dict[str, list[Outcome]] = {name: [] for name in field.missing}
    for each in outcomes:
        by_candidate[each.pair.candidate].append(each)
    names = list(by_candidate)
    found = {name: _of_candidate(own, field.missing[name], threshold, seed) for name, own in by_candidate.items()}
    first = found.pop(names[0])
    return ArenaSummary(
        kind="arena",
        unit="percent",
        ties=ties,
        threshold=threshold,
        candidate=names[0],
        languages=first.languages,
        categories=first.categories,
        mean=first.mean,
        others=found,
        paired=[_paired(a, b, by_candidate, seed) for number, a in enumerate(names) for b in names[number + 1 :]],
        not_answered=field.not_answered,
        language_not_recognised=sorted(field.unrecognised),
    )


def _of_candidate(outcomes: Sequence[Outcome], missing, threshold: float, seed: int) -> ArenaCandidate:
    languages = _by(outcomes, lambda each: each.pair.language)
    categories = _by(outcomes, lambda each: each.pair.category)
    codes = sorted({*languages, *(code for code, count in missing.items() if count)})
    return ArenaCandidate(
        languages={code: _cell(languages.get(code, ()), threshold, missing[code], seed) for code in codes},
        categories={name: _cell(group, threshold, 0, seed) for name, group in sorted(categories.items())},
        mean=_cell(outcomes, threshold, missing.total(), seed),
    )


def _cell(outcomes: Sequence[Outcome], threshold: float, missing: int, seed: int) -> ArenaCell:
    return ArenaCell(**cell(outcomes, threshold, missing, seed))


def _paired(a: str, b: str, by_candidate: dict[str, list[Outcome]], seed: int) -> PairedGap:
    sides = [_by(by_candidate[name], lambda each: each.pair.language) for name in (a, b)]
    codes = sorted(sides[0].keys() & sides[1].keys())
    return PairedGap(
        a=a,
        b=b,
        mean=Gap(**difference(by_candidate[a], by_candidate[b], seed)),
        languages={code: Gap(**difference(sides[0][code], sides[1][code], seed)) for code in codes},
    )


def _by(outcomes: Iterable[Outcome], name) -> dict[str, list[Outcome]]:
    found = defaultdict(list)
    for each in outcomes:
        if name(each) is not None:
            found[name(each)].append(each)
    return found


COLUMNS = ("prompts", "win rate", "at equal length", "wins / ties / losses", "wrong language", "no verdict", "missing")


def tables(summary: ArenaSummary) -> str:
    """Markdown: a table by language and one by category for each candidate, the paired tests, and the judge."""
    return "\n\n".join(part.rstrip() for part in _tables(summary.model_dump())) + "\n"


def _tables(summary: dict) -> Iterator[str]:
    baseline = summary["baseline"]
    for name, found in {summary["candidate"]: summary, **summary["others"]}.items():
        yield f"## {name} against {baseline}"
        rows = [*found["languages"].items(), ("mean of languages", found["mean"])]
        yield table(("language", *COLUMNS), [(code, *_cells(each)) for code, each in rows])
        if found["categories"]:
            rows = found["categories"].items()
            yield table(("category", *COLUMNS[:-1]), [(code, *_cells(each)[:-1]) for code, each in rows])
        yield _position(found["mean"]["position_bias"])
    for each in summary["paired"]:
        yield f"## {each['a']} - {each['b']}, win rates against {baseline} on the same prompts"
        rows = [*each["languages"].items(), ("mean of languages", each["mean"])]
        yield table(
            ("language", "prompts", "difference", "p"),
            [(code, str(gap["prompts"]), _interval(gap), _number(gap["p"], "{:.3g}")) for code, gap in rows],
        )
    yield "Rates in percent with 95 % intervals by prompt. " + _judge(summary)


def _cells(each: dict) -> tuple[str, ...]:
    thirds = " / ".join(_number(each[kind]) for kind in ("wins", "ties", "losses"))
    wrong = f"{_number(each['wrong_language'])} (baseline {_number(each['baseline_wrong_language'])})"
    return (
        *(str(each["prompts"]), _interval(each["win_rate"]), _interval(each["lc_win_rate"]), thirds, wrong),
        *(
            f"{each['unparseable']} unparseable, {each['failed']} failed, {each['one_order']} in one order",
            str(each["missing"]),
        ),
    )


def _position(position: dict) -> str:
    if position["first"] is None:
        return "The judge decided nothing, so nothing is known of its preference for a place."
    return (
        f"What was shown first won {_interval(position['first'])} % of the decided verdicts (50 is no bias); "
        f"{_number(position['consistent'])} % of the pairs came out the same in both orders."
    )


def _judge(summary: dict) -> str:
    every = (summary["judge"], *summary["judge"]["panel"])
    judges = ", ".join(
        f"{judge['model']} (prompt {judge['prompt']} {judge['prompt_version']})" if judge["prompt"] else judge["model"]
        for judge in every
    )
    cost = summary["cost"]
    usd = "cost unknown" if cost["usd"] is None else f"{cost['usd']:.4f} USD"
    return f"Judge: {judges}; {cost['questions']} questions, {usd}."


def _interval(each: dict) -> str:
    return f"{_number(each['mean'])} [{_number(each['low'])}, {_number(each['high'])}]"


def _number(value: float | None, form: str = "{:.1f}") -> str:
    return "-" if value is None else form.format(value)
