"""What evaluations come to, as they write it: summary.json of `sp3f evaluate`, `--arena`, `--harness` and of
`data_prep.wmt compare`. Producers build these models, and whoever reads one reads it once, here:

    BenchmarkSummary(model="m", benchmarks={...}).write(folder)
    summary = read(folder)   # a BenchmarkSummary, ArenaSummary, HarnessSummary or TranslationSummary; None without one

A field that the file lacks (an older version wrote it, or nothing is known) has its default, and is not written either.
Numbers may be NaN or infinite where a file says so: `not_finite` names them.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sp3f_verl.data.files import write_text
from sp3f_verl.errors import BadInput

FILE = "summary.json"


class Result(BaseModel):
    """A part of a summary: it never changes, and keys that it does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    @classmethod
    def of_json(cls, content: dict[str, Any], path: Path) -> Self:
        """From the object of the file at `path`. BadInput, one sentence that names the place in the file."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise BadInput(f"{path} has {place[:120]!r} wrong ({first['msg']}); run the evaluation again.") from None


class Estimate(Result):
    """A mean with its 95 % interval; the bounds are None where nothing is known of them."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


class Summary(Result):
    """A whole file."""

    sort_keys: ClassVar[bool] = True

    def text(self) -> str:
        """The file's content: JSON with the fields that were set. ValueError for a NaN, which JSON does not know."""
        return to_json(self.model_dump(exclude_unset=True), self.sort_keys)

    def write(self, folder: Path) -> Path:
        """summary.json in the folder, whole or not there."""
        write_text(self.text(), folder / FILE)
        return folder / FILE


def to_json(value: Any, sort_keys: bool = True) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n"


# ---- sp3f evaluate -------------------------------------------------------------------------------------------------


class Decoding(Result):
    """How answers are drawn; None where it is not known."""

    samples: int | None = None  # answers a problem
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None  # of an answer
    seed: int | None = None


class Measures(Result):
    """Of a language or variant, or unweighted means of several. Shares in [0, 1]; None where no sample has one."""

    problems: int | None = None
    samples: int | None = None  # a problem
    unscored: int | None = None  # problems without a scored sample: in no mean
    complete: int | None = None  # problems none of whose samples failed
    accuracy: Estimate | None = None
    majority: Estimate | None = None
    fidelity: Estimate | None = None
    parseable: float | None = None
    tokens: float | None = None  # of an answer
    truncated: float | None = None
    undefined: float | None = None  # too few letters to tell the language
    pass_at_k: dict[str, float | None] = {}
    fidelity_curve: dict[str, float | None] = {}  # threshold -> share of the answers that reach it
    failed: int | None = None  # samples
    refused: int | None = None
    variants: dict[str, "Measures"] = {}


class BenchmarkResult(Result):
    """language -> measures, and their unweighted mean over the languages."""

    languages: dict[str, Measures] = {}
    mean: Measures | None = None


class BenchmarkSummary(Summary):
    """`sp3f evaluate`. model: its name with the fingerprint; model_path: as it was given."""

    kind: Literal["benchmarks"] = "benchmarks"
    model: str | None = None
    model_path: str | None = None
    decoding: Decoding = Decoding()
    threshold: float | None = None  # share of the language from which an answer counts as in it
    limit: int | None = None  # only so many problems of each language
    skipped: dict[str, list[str]] = {}  # benchmark -> languages asked for that it has not
    benchmarks: dict[str, BenchmarkResult] = {}


# ---- arena ---------------------------------------------------------------------------------------------------------


class PositionBias(Result):
    """How the judge treats the order, in percent; None where it decided nothing."""

    first: Estimate | None = None  # how often what is shown first wins, of decided verdicts
    consistent: float | None = None  # pairs with the same outcome in both orders
    tied: float | None = None
    verdicts: int | None = None


class ArenaCell(Result):
    """A candidate against the baseline in a language, a category or over all languages. Rates in percent."""

    prompts: int | None = None  # with a verdict in both orders
    win_rate: Estimate | None = None
    standard_error: float | None = None
    lc_win_rate: Estimate | None = None  # at equal length
    wins: float | None = None
    ties: float | None = None
    losses: float | None = None
    missing: int | None = None  # prompts that one of the two did not answer
    unjudged: int | None = None
    jammed: int | None = None  # of these, pairs that an answer may have kept from a verdict
    win_rate_jams_lost: Estimate | None = None  # as if the candidate had lost them
    one_order: int | None = None
    unparseable: int | None = None
    failed: int | None = None
    settled: int | None = None  # without a judge, by equal or empty texts
    position_bias: PositionBias | None = None
    characters: float | None = None
    wrong_language: float | None = None
    truncated: int | None = None
    baseline_characters: float | None = None
    baseline_wrong_language: float | None = None
    baseline_truncated: int | None = None


class ArenaCandidate(Result):
    languages: dict[str, ArenaCell] = {}
    categories: dict[str, ArenaCell] = {}
    mean: ArenaCell | None = None


class Gap(Estimate):
    """Win rate of one candidate minus another's over the prompts that both have, in points."""

    p: float | None = None
    prompts: int | None = None


class PairedGap(Result):
    a: str
    b: str
    mean: Gap | None = None
    languages: dict[str, Gap] = {}


class ArenaJudge(Result):
    """What shapes a judge's answers (`arena.settings.identity`), and the model that answered."""

    model_config = ConfigDict(extra="allow")

    judge: str | None = None
    model: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    weight: float | None = None
    panel: list["ArenaJudge"] = []


class ArenaCost(Result):
    """Of all answers that count, whenever they were paid for; usd is None where no price is known."""

    questions: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    usd: float | None = None


class ArenaSummary(Summary, ArenaCandidate):
    """`sp3f evaluate --arena`: the first candidate's numbers stand at the top, those of further ones in `others`."""

    kind: Literal["arena"] = "arena"
    unit: str = "percent"
    ties: str | None = None
    threshold: float | None = None  # share of its language below which an answer is in the wrong one
    candidate: str | None = None
    baseline: str | None = None
    others: dict[str, ArenaCandidate] = {}
    paired: list[PairedGap] = []
    not_answered: int | None = None
    language_not_recognised: list[str] = []
    judge: ArenaJudge | None = None
    cost: ArenaCost | None = None

    @property
    def candidates(self) -> dict[str, ArenaCandidate]:
        """Name -> numbers, the first one's first."""
        return {self.candidate or "?": self, **self.others}

    @property
    def judges(self) -> list[ArenaJudge]:
        return [self.judge, *self.judge.panel] if self.judge else []


# ---- harness -------------------------------------------------------------------------------------------------------


class HarnessTask(Result):
    """A task in the harness's own metric; value and standard error in points of 100."""

    metric: str | None = None
    filter: str | None = None  # lm-eval
    value: float | None = None
    stderr: float | None = None
    language: str | None = None
    shots: int | None = None
    iterations: int | None = None  # EuroEval
    n: int | None = None  # questions asked
    of: int | None = None  # questions there are
    failed: int | None = None
    version: str | int | float | None = None


class HarnessMean(Result):
    """The unweighted mean over tasks, and those of each language's tasks."""

    value: float | None = None
    tasks: int | None = None
    languages: dict[str, "HarnessMean"] = {}


class HarnessSummary(Summary):
    """`sp3f evaluate --harness`. settings: what the runner was given."""

    sort_keys: ClassVar[bool] = False

    kind: Literal["harness"] = "harness"
    suite: str | None = None
    package: str | None = None
    model: str | None = None
    tasks: dict[str, HarnessTask] = {}
    limit: int | None = None  # only so many problems a task
    settings: dict[str, Any] = {}
    versions: dict[str, str | None] = {}
    mean: HarnessMean | None = None


# ---- translators ---------------------------------------------------------------------------------------------------


class TranslatorMean(Result):
    """Corpus scores of a translator and means of its sentence scores; None where it has nothing."""

    translator: str
    bleu: float | None = None
    chrf: float | None = None
    bleu_sentence: float | None = None
    chrf_sentence: float | None = None
    comet: float | None = None


class TranslatorScore(TranslatorMean):
    """On a language pair."""

    lp: str
    language: str | None = None
    segments: int | None = None
    missing: int | None = None


class TranslatorAverage(TranslatorMean):
    """Means over all pairs; those of `imputed` are the mean of the other translators there."""

    imputed: list[str] = []


class TranslatorTest(Result):
    """A translator minus the baseline; lp is "all" over all pairs. An interval only of means of sentence scores."""

    translator: str
    baseline: str
    lp: str
    metric: str
    segments: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


class TranslationSummary(Summary):
    """`data_prep.wmt compare`. best: pair -> translator; signatures: pair -> metric -> sacrebleu's."""

    kind: Literal["translation"] = "translation"
    scores: list[TranslatorScore] = []
    averages: list[TranslatorAverage] = []
    tests: list[TranslatorTest] = []
    best: dict[str, str] = {}
    signatures: dict[str, dict[str, str]] = {}


# ---- the quickstart ------------------------------------------------------------------------------------------------


class DataFile(Result):
    file: str | None = None
    sha256: str | None = None
    rows: int | None = None


class HeldOut(Result):
    """A checkpoint on a held-out split of the quickstart, evaluation/*.json.

    greedy, sampled: language (and `all`, the mean of the languages) -> measure -> mean; None where it is not known.
    """

    model: str | None = None
    data: DataFile = DataFile()
    decoding: dict[str, int] = {}
    greedy: dict[str, dict[str, float | None]] = {}
    sampled: dict[str, dict[str, float | None]] = {}


class StageGain(Estimate):
    """What a stage of the quickstart gained over the one before, on a split: an unweighted mean over the languages."""

    before: str
    after: str
    split: str
    decoding: str
    measure: str
    p: float | None = None  # of "no difference"
    sums: int | None = None  # what was resampled: a sum with its rows in all languages


class StageGains(Result):
    """evaluation/gains.json of a quickstart."""

    gains: list[StageGain] = []


# ---- the door ------------------------------------------------------------------------------------------------------

KINDS: dict[str, type[Summary]] = {
    "benchmarks": BenchmarkSummary,
    "arena": ArenaSummary,
    "harness": HarnessSummary,
    "translation": TranslationSummary,
}


def read(folder: Path) -> Summary | None:
    """The summary of a folder; None where it has none of ours. BadInput, one sentence, where it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    content = read_object(path)
    kind = content.get("kind", "benchmarks" if "benchmarks" in content else None)
    return KINDS[kind].of_json(content, path) if isinstance(kind, str) and kind in KINDS else None


def read_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file. FileNotFoundError where there is no file, BadInput where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read ({str(error)[:80]}); run the evaluation again.") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds a {type(content).__name__} in place of an object; run the evaluation again.")
    return content


def not_finite(content: Result | dict[str, Any], place: str = "") -> list[str]:
    """The places in the file (a.b[0].c, below `place`) at which a value is NaN, infinite or null."""
    content = content.model_dump(exclude_unset=True) if isinstance(content, Result) else content
    return list(_not_finite(content, place))


def _not_finite(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{place}[{index}]")
    elif value is None or (isinstance(value, float) and not math.isfinite(value)):
        yield place
