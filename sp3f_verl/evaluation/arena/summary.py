"""summary.json of an arena, and its tables for people. Rates in percent, counts whole; null where nothing is known."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from sp3f_verl.evaluation.arena.judging import Judgement
from sp3f_verl.evaluation.arena.pairs import Pairing
from sp3f_verl.evaluation.arena.rates import Outcome, difference, rates
from sp3f_verl.evaluation.results import (
    ArenaCandidate,
    ArenaCell,
    ArenaSummary,
    Estimate,
    PairedGap,
    PositionBias,
)
from sp3f_verl.stats.format import table


def summarise(pairing: Pairing, judgement: Judgement, ties: str, threshold: float, seed: int) -> ArenaSummary:
    """The first candidate's languages, categories and mean; those of `others`; all of them against each other. The
    baseline, the judge and the cost are the command's to add."""
    by_candidate: dict[str, list[Outcome]] = {name: [] for name in pairing.missing}
    for pair, verdicts in zip(pairing.pairs, judgement.verdicts, strict=True):
        preference, half = (verdicts.preference(credit, judgement.weights) for credit in (ties, "half"))
        by_candidate[pair.candidate].append(Outcome(pair, verdicts, preference, half))
    names = list(by_candidate)
    candidates = {
        name: _of_candidate(outcomes, pairing.missing[name], threshold, seed) for name, outcomes in by_candidate.items()
    }
    first = candidates.pop(names[0])
    return ArenaSummary(
        kind="arena",
        unit="percent",
        ties=ties,
        threshold=threshold,
        candidate=names[0],
        languages=first.languages,
        categories=first.categories,
        mean=first.mean,
        others=candidates,
        paired=[_paired(a, b, by_candidate, seed) for number, a in enumerate(names) for b in names[number + 1 :]],
        not_answered=pairing.not_answered,
        language_not_recognised=sorted(pairing.unrecognised),
    )


def _of_candidate(outcomes: Sequence[Outcome], missing: Counter[str], threshold: float, seed: int) -> ArenaCandidate:
    languages = _by(outcomes, lambda outcome: outcome.pair.language)
    categories = _by(outcomes, lambda outcome: outcome.pair.category)
    codes = sorted({*languages, *(code for code, count in missing.items() if count)})
    return ArenaCandidate(
        languages={code: rates(languages.get(code, ()), threshold, missing[code], seed) for code in codes},
        categories={name: rates(group, threshold, 0, seed) for name, group in sorted(categories.items())},
        mean=rates(outcomes, threshold, missing.total(), seed),
    )


def _paired(a: str, b: str, by_candidate: dict[str, list[Outcome]], seed: int) -> PairedGap:
    sides = [_by(by_candidate[name], lambda outcome: outcome.pair.language) for name in (a, b)]
    codes = sorted(sides[0].keys() & sides[1].keys())
    return PairedGap(
        a=a,
        b=b,
        mean=difference(by_candidate[a], by_candidate[b], seed),
        languages={code: difference(sides[0][code], sides[1][code], seed) for code in codes},
    )


def _by(outcomes: Iterable[Outcome], key: Callable[[Outcome], str | None]) -> dict[str, list[Outcome]]:
    groups = defaultdict(list)
    for outcome in outcomes:
        if (name := key(outcome)) is not None:
            groups[name].append(outcome)
    return groups


COLUMNS = ("prompts", "win rate", "at equal length", "wins / ties / losses", "wrong language", "no verdict", "missing")


def tables(summary: ArenaSummary) -> str:
    """Markdown: a table by language and one by category for each candidate, the paired tests, and the judge."""
    return "\n\n".join(part.rstrip() for part in _tables(summary)) + "\n"


def _tables(summary: ArenaSummary) -> Iterator[str]:
    for name, candidate in summary.candidates.items():
        yield f"## {name} against {summary.baseline}"
        languages = [*candidate.languages.items(), ("mean of languages", candidate.mean)]
        yield table(("language", *COLUMNS), [(code, *_columns(cell)) for code, cell in languages])
        if candidate.categories:
            categories = candidate.categories.items()
            yield table(("category", *COLUMNS[:-1]), [(code, *_columns(cell)[:-1]) for code, cell in categories])
        yield _position(candidate.mean.position_bias)
    for paired in summary.paired:
        yield f"## {paired.a} - {paired.b}, win rates against {summary.baseline} on the same prompts"
        gaps = [*paired.languages.items(), ("mean of languages", paired.mean)]
        yield table(
            ("language", "prompts", "difference", "p"),
            [(code, str(gap.prompts), _interval(gap), _number(gap.p, "{:.3g}")) for code, gap in gaps],
        )
    yield "Rates in percent with 95 % intervals by prompt. " + _judge(summary)


def _columns(cell: ArenaCell) -> tuple[str, ...]:
    return (
        str(cell.prompts),
        _interval(cell.win_rate),
        _interval(cell.lc_win_rate),
        " / ".join(_number(share) for share in (cell.wins, cell.ties, cell.losses)),
        f"{_number(cell.wrong_language)} (baseline {_number(cell.baseline_wrong_language)})",
        f"{cell.unparseable} unparseable, {cell.failed} failed, {cell.one_order} in one order",
        str(cell.missing),
    )


def _position(position: PositionBias) -> str:
    if position.first is None:
        return "The judge decided nothing, so nothing is known of its preference for a place."
    return (
        f"What was shown first won {_interval(position.first)} % of the decided verdicts (50 is no bias); "
        f"{_number(position.consistent)} % of the pairs came out the same in both orders."
    )


def _judge(summary: ArenaSummary) -> str:
    judges = ", ".join(
        f"{judge.model} (prompt {judge.prompt} {judge.prompt_version})" if judge.prompt else str(judge.model)
        for judge in summary.judges
    )
    cost = summary.cost
    usd = "cost unknown" if cost.usd is None else f"{cost.usd:.4f} USD"
    return f"Judge: {judges}; {cost.questions} questions, {usd}."


def _interval(estimate: Estimate) -> str:
    return f"{_number(estimate.mean)} [{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float | None, form: str = "{:.1f}") -> str:
    return "-" if value is None else form.format(value)
