"""The report of a quickstart, and a table over several seeds."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import read_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.results import Estimate, HeldOut, StageGains, not_finite, read_object
from sp3f_verl.report.document import blocks as doc
from sp3f_verl.report.document.blocks import Block, Document, Items, Section, Table, Text, listed, paragraph, picture
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.document.write import write
from sp3f_verl.report.rl_and_sft import trainer_sections
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.side_by_side import Named, sources
from sp3f_verl.report.values import dots, fixed, not_numbers
from sp3f_verl.stats.bootstrap import t_interval
from sp3f_verl.stats.format import mean_and_spread, number

SPLITS = {
    "test": "held-out (language, sum) pairs whose sum SFT showed in other languages; no choice was made on them",
    "rl_only_test": "held-out pairs of sums that no SFT row shows: RL met them, in other languages, with a reward only",
    "unseen_sums": "sums that no training row shows, in any language",
    "validation": "like test, but the settings were chosen on it",
}
COLUMNS = {
    "accuracy": "boxed accuracy",
    "lenient_accuracy": "lenient accuracy",
    "fidelity": "language fidelity",
    "parseable": "boxed",
}
DECODINGS = {"greedy": "Greedy decoding", "sampled": "Sampled at temperature 1"}
STAGES = {"base": "base model", "sft": "SFT", "sp3f": "SP3F"}  # base: of a pretrained model only; sp3f: or `rl.method`
GAINS = "evaluation/gains.json"
READING = (
    "*Boxed accuracy* needs the right number in the last box. *Lenient accuracy* also takes the number after\n"
    "  the last `=`: where it does not move, RL taught the format and not the arithmetic.",
    "*Language fidelity* is the share of responses that are at least 70 % in the language of the question.",
    "The win rate compares the rollouts of one prompt with each other, so its mean over a group is always 0.5: it\n"
    "  tells the good from the bad within a group and cannot show progress over steps.",
    "The judge is `judge=reference`, a deterministic stand-in that needs no model. It is not the paper's LLM judge.",
)
Means = dict[str, dict[str, float | None]]  # language, and `all` -> measure -> mean
Results = dict[tuple[str, str], dict[str, Means]]  # (stage, split) -> decoding -> means


def _file(stage: str, split: str) -> str:
    return f"evaluation/{stage}_{split}.json"


def read_results(output: Path) -> Results:
    """What the quickstart's evaluations wrote, of STAGES; of the base model only where it was evaluated.
    FileNotFoundError where a file is not there, BadInput where it cannot be read."""
    has_base = (output / _file("base", "test")).is_file()
    keys = [(stage, split) for stage in STAGES if stage != "base" or has_base for split in SPLITS]
    contents = {key: (read_object(output / _file(*key)), output / _file(*key)) for key in keys}
    return {key: _means(HeldOut.of_json(*content), content[1]) for key, content in contents.items()}


def stages_of(results: Results) -> list[str]:
    return [stage for stage in STAGES if (stage, "test") in results]


def labels_of(output: Path) -> dict[str, str]:
    """STAGES as this folder's settings call them."""
    rl = _settings(output).get("rl")
    method = rl.get("method") if isinstance(rl, dict) else None
    return STAGES | ({"sp3f": method} if isinstance(method, str) else {})


def title_of(output: Path, results: Results) -> str:
    return " → ".join(labels_of(output)[stage] for stage in stages_of(results))


def source_of(results: Results) -> Markdown:
    return joined(code(_file(*key)) for key in results)


def _means(held_out: HeldOut, path: Path) -> dict[str, Means]:
    results = {decoding: getattr(held_out, decoding) for decoding in DECODINGS}
    for decoding, means in results.items():
        if not means.get("all"):
            raise BadInput(f"{path} has no means under {decoding}.all; run the quickstart again.")
    return results


def is_finished(output: Path) -> bool:
    try:
        return bool(read_results(output))
    except FileNotFoundError:
        return False


def table_of(results: Results, decoding: str) -> Table:
    """One row a split: the stages' values of each measure, as the mean over the languages."""
    return _changes("split", list(SPLITS), stages_of(results), _of_split(results, decoding), number)


def _changes(
    head: str, names: Iterable[str], stages: Sequence[str], of: Callable, show: Callable, source: str = ""
) -> Table:
    """A row a name, the stages' values of each measure. of: (stage, name, measure) -> what `show` makes a cell of."""
    columns = {
        title: lambda name, measure=measure: " → ".join(show(of(stage, name, measure)) for stage in stages)
        for measure, title in COLUMNS.items()
    }
    return listed(head, names, columns, source)


def _of_split(results: Results, decoding: str) -> Callable[[str, str, str], float | None]:
    return lambda stage, split, measure: results[stage, split][decoding]["all"].get(measure)


def _not_numbers(results: Results) -> list[Text]:
    return [text for key, result in results.items() for text in not_numbers(not_finite(result), _file(*key))]


def write_report(output: Path) -> Path:
    """Write report.md, report.html and plots into `output`, the folder of a finished quickstart (else
    FileNotFoundError); answers the path of report.md."""
    return write(document(output), output / "report.md")


def document(output: Path, _: None = None) -> Document:
    results = read_results(output)
    run, sft = (RunMetrics(output / stage, base=output) for stage in ("sp3f", "sft"))
    languages = [language for language in results["sft", "test"]["greedy"] if language != "all"]
    steps = max((point.step for points in run.series.values() for point in points), default=0)
    rows = len(read_parquet(output / "data" / "sft.parquet"))
    pretrained, labels = _settings(output).get("pretrained"), labels_of(output)
    faults = "" if pretrained else "with faults put in on purpose (missing boxes, answers in English), "
    lead = paragraph(
        f"""{{}}: SFT on {rows:,} rows, {faults}then {steps} steps of {{}}. Every number is {{}},
the mean over {len(languages)} languages ({{}}).""",
        code(pretrained) if pretrained else "A tiny model, trained from scratch",
        labels["sp3f"],
        title_of(output, results),
        joined(languages),
    )
    one_seed = "One seed. docs/quickstart.md has three and their spread."
    sections = [
        *_outcome(results, languages, labels),
        *_gains(output, labels),
        Section("How to read it", [Items([*map(Markdown, READING), _weights_sentence(run), one_seed])]),
        *([Section(f"Stage 2: {labels['sp3f']}", trainer_sections(run))] if run.names else []),
        *([Section("Stage 1: SFT", trainer_sections(sft, "sft_"))] if sft.names else []),
    ]
    return Document("SP3F quickstart", [lead, *_not_numbers(results), *sections], output)


def _outcome(results: Results, languages: list[str], labels: dict[str, str]) -> list[Section]:
    def of(stage: str, language: str, measure: str) -> float | None:
        return results[stage, "test"]["greedy"].get(language, {}).get(measure)

    stages = stages_of(results)
    panels = [
        dots(
            f"{COLUMNS[name]}, test, greedy",
            languages,
            {labels[stage]: [of(stage, language, name) for language in languages] for stage in stages},
            doc.SHARE,
        )
        for name in ("accuracy", "fidelity")
    ]
    tables = [block for key, label in DECODINGS.items() for block in (Text(f"{label}:"), table_of(results, key))]
    meanings = Items([Markdown("**{}**: {}.").format(split, meaning) for split, meaning in SPLITS.items()])
    drawing = picture("languages.png", "Accuracy and fidelity per language", panels)
    source = joined(code(_file(stage, "test")) for stage in stages)
    by_language = _changes("language", languages, stages, of, number, source)
    return [
        Section("Before and after", [*drawing, *tables, meanings, paragraph("From {}.", source_of(results))]),
        Section("Per language", [Text("Split test, greedy:"), by_language]),
    ]


def _gains(output: Path, labels: dict[str, str]) -> list[Section]:
    """What each stage gained over the one before; nothing where no file tells, as of older versions."""
    if not (output / GAINS).is_file():
        return []
    gains = StageGains.of_json(read_object(output / GAINS), output / GAINS).gains
    rows = {
        f"{labels[gain.before]} → {labels[gain.after]}, {gain.split}": (gain.before, gain.after, gain.split)
        for gain in gains
        if gain.before in STAGES and gain.after in STAGES
    }
    of = {(gain.before, gain.after, gain.split, gain.measure): gain for gain in gains if gain.decoding == "greedy"}
    columns = {
        title: lambda row, measure=measure: fixed(of.get((*row, measure)), 3, sign="+")
        for measure, title in COLUMNS.items()
    }
    text = """Change with its 95 % interval, greedy. What is resampled is the sum (`7+5`) with its rows in all
languages, which says how sure the number is for this checkpoint; another run of the same training differs by more."""
    return [Section("Gains", [Text(Markdown(text)), listed("stage", rows, columns, code(GAINS))])]


def _weights_sentence(run: RunMetrics) -> Markdown:
    name = "training/rollout_probs_diff_max"
    differences = [point for point in run[name] if point.step >= 2]
    if not differences:
        return Markdown(f"Whether rollouts used the trained weights is not known: `{name}` was not logged.")
    most = max(point.value for point in differences)
    verdict = "Rollouts used the trained weights" if most < 1e-4 else "ROLLOUTS DID NOT USE THE TRAINED WEIGHTS"
    text = f"{verdict}: `{name}` was at most {most:.1e} from step 2 on ({{}})."
    return Markdown(text).format(code(differences[-1].file))


# ---- several seeds, or several methods -----------------------------------------------------------------------------


def compare(named: Named[None]) -> list[Block]:
    """Mean ± sample standard deviation over the folders of the same settings but for seeds; a row for each of them."""
    folders = {label: folder for label, (folder, _) in named.items()}
    results = {label: read_results(folder) for label, folder in folders.items()}
    alike: dict[str, list[str]] = {}  # settings without seeds -> labels
    for label, folder in folders.items():
        alike.setdefault(_part(folder, seeds=False), []).append(label)
    blocks: list[Block] = []
    for labels in alike.values():
        of_seeds: dict[str, list[str]] = {}
        for label in labels:
            of_seeds.setdefault(_part(folders[label], seeds=True), []).append(label)
        text = "**{} have the same seeds**: ± is no spread over seeds."
        same = [same for seeds, same in of_seeds.items() if seeds and len(same) > 1]
        blocks += [paragraph(text, joined(labels, " and ")) for labels in same]
    odd = {label: _not_numbers(result) for label, result in results.items()}
    blocks += [paragraph("{}: {}", label, one.text) for label, texts in odd.items() for one in texts]
    stages = [stage for stage in STAGES if all((stage, "test") in result for result in results.values())]
    rows = {
        (f"{split}: {_name(folders, labels, alike)}" if len(alike) > 1 else split): (split, labels)
        for split in SPLITS
        for labels in alike.values()
    }
    for decoding in DECODINGS:
        of = {label: _of_split(result, decoding) for label, result in results.items()}

        def of_row(stage: str, row: str, measure: str, of: dict = of) -> list[float | None]:
            split, labels = rows[row]
            return [of[label](stage, split, measure) for label in labels]

        table = _changes("split", list(rows), stages, of_row, mean_and_spread)
        what = f"{len(folders)} seeds" if len(alike) == 1 else f"{len(folders)} runs of {len(alike)} kinds"
        blocks += [Text(f"{decoding}, {what}:"), table]
    blocks += _differences(folders, results, alike)
    return [*blocks, sources((label, folder, source_of(results[label])) for label, folder in folders.items())]


def _differences(folders: dict[str, Path], results: dict[str, Results], alike: dict[str, list[str]]) -> list[Block]:
    """After training, each further kind minus the first, a pair for each seed that both have; nothing below three."""
    of_seeds = [{_part(folders[label], seeds=True): label for label in labels} for labels in alike.values()]
    names = [_name(folders, labels, alike) for labels in alike.values()]
    pairs = {
        name: [(label, of_seeds[0][seed]) for seed, label in own.items() if seed and seed in of_seeds[0]]
        for name, own in zip(names[1:], of_seeds[1:], strict=True)
    }
    rows = {
        f"{split}: {name} minus {names[0]}, {len(both)} pairs": (split, both)
        for split in SPLITS
        for name, both in pairs.items()
        if len(both) > 2
    }

    def cell(row: tuple[str, list[tuple[str, str]]], measure: str) -> str:
        split, both = row
        ends = [[results[label]["sp3f", split]["greedy"]["all"].get(measure) for label in pair] for pair in both]
        if not all(value is not None and math.isfinite(value) for pair in ends for value in pair):
            return number(None)
        found = t_interval([a - b for a, b in ends])
        return fixed(Estimate(mean=found.mean, low=found.low, high=found.high), 3, sign="+")

    columns = {title: lambda row, measure=measure: cell(row, measure) for measure, title in COLUMNS.items()}
    text = "Greedy, after training, paired by seed, with Student's 95 % interval over the seeds:"
    return [Text(text), listed("split", rows, columns)] if rows else []


def _name(folders: dict[str, Path], labels: list[str], alike: dict[str, list[str]]) -> str:
    """Of runs with the same settings: their method where it tells them apart, else their first folder; and how many."""
    methods = [labels_of(folders[others[0]])["sp3f"] for others in alike.values()]
    method = labels_of(folders[labels[0]])["sp3f"]
    name = method if methods.count(method) == 1 else labels[0]
    return f"{name} ({len(labels)})"


def _part(folder: Path, seeds: bool) -> str:
    """The seeds of a run, or all other settings; empty where they are not known."""
    kept = {name: value for name, value in _settings(folder).items() if ("seed" in name) == seeds}
    return json.dumps(kept, sort_keys=True) if kept else ""


def _settings(folder: Path) -> dict[str, Any]:
    """What the run was made with; empty where it is not known."""
    try:
        return read_object(folder / "settings.json")
    except (OSError, BadInput):
        return {}
