"""The report of a quickstart, and a table over several seeds."""

import json
from pathlib import Path

from sp3f_verl.data.files import read_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.summary_file import finite, not_numbers, part, read_object, value
from sp3f_verl.report.document.inline import code, plain
from sp3f_verl.report.document.model import (
    SHARE,
    Block,
    Document,
    Items,
    Picture,
    Rows,
    Section,
    Table,
    Text,
    Values,
    paragraphs,
)
from sp3f_verl.report.document.write import write
from sp3f_verl.report.rl_and_sft import trainer_sections
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.side_by_side import labels, sources
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


FILES = {(stage, split): f"evaluation/{stage}_{split}.json" for split in SPLITS for stage in ("sft", "sp3f")}
Results = dict[tuple[str, str], dict]


def _change(before: dict, after: dict, name: str) -> str:
    return f"{number(value(before.get(name)))} → {number(value(after.get(name)))}"


def read_results(output: Path) -> Results:
    """(stage, split) -> what `evaluate` wrote, for the stages sft and sp3f. FileNotFoundError where it is not there,
    BadInput where it cannot be read."""
    results = {key: read_object(output / file) for key, file in FILES.items()}
    for key, found in results.items():
        for decoding in ("greedy", "sampled"):
            if not part(found, decoding, "all"):
                raise BadInput(f"{output / FILES[key]} has no means under {decoding}.all; run the quickstart again.")
    return results


def _not_numbers(results: Results) -> list[str]:
    return [sentence for key, file in FILES.items() for sentence in not_numbers(results[key], file)]


def is_finished(output: Path) -> bool:
    try:
        return bool(read_results(output))
    except FileNotFoundError:
        return False


def seeds_table(folders: list[Path]) -> list[Block]:
    """Mean ± sample standard deviation over several quickstart folders, SFT → SP3F, greedy and sampled."""
    every = [read_results(folder) for folder in folders]
    blocks: list[Block] = []
    for decoding in ("greedy", "sampled"):
        rows = []
        for split in SPLITS:
            cells = []
            for name in COLUMNS:
                before, after = (
                    [value(results[stage, split][decoding]["all"].get(name)) for results in every]
                    for stage in ("sft", "sp3f")
                )
                cells.append(f"{mean_and_spread(before)} → {mean_and_spread(after)}")
            rows.append([split, *cells])
        blocks += [Text(f"{decoding}, {len(folders)} seeds:"), Table(["split", *COLUMNS.values()], rows, decoding)]
    if len({_settings(folder, seeds=False) for folder in folders}) > 1:
        blocks.insert(0, Text("**They were not run with the same settings**: ± is no spread over seeds."))
    named = dict(zip(labels(folders), folders, strict=True))
    of_seeds: dict[str, list[str]] = {}
    for label, folder in named.items():
        of_seeds.setdefault(_settings(folder, seeds=True), []).append(plain(label))
    same = [found for seeds, found in of_seeds.items() if seeds and len(found) > 1]
    told = [f"**{' and '.join(found)} have the same seeds**: ± is no spread over seeds." for found in same]
    told += [
        f"{plain(label)}: {each}" for label, found in zip(named, every, strict=True) for each in _not_numbers(found)
    ]
    return [*map(Text, told), *blocks, sources(named, "`, `".join(FILES.values()))]


def _settings(folder: Path, seeds: bool) -> str:
    """The seeds of a run, or all other settings; empty where they are not known."""
    try:
        settings = read_object(folder / "settings.json")
    except (OSError, BadInput):
        return ""
    found = {name: each for name, each in settings.items() if ("seed" in name) == seeds}
    return json.dumps(found, sort_keys=True) if found else ""


def summary_rows(results: dict, decoding: str) -> list[list[str]]:
    """One row a split: SFT → SP3F of each measure, as the mean over the languages."""
    rows = []
    for split in SPLITS:
        before, after = (results[stage, split][decoding]["all"] for stage in ("sft", "sp3f"))
        rows.append([split, *(_change(before, after, name) for name in COLUMNS)])
    return rows


def _weights_sentence(run: RunMetrics) -> str:
    name = "training/rollout_probs_diff_max"
    differences = [point for point in run[name] if point.step >= 2]
    if not differences:
        return f"Whether rollouts used the trained weights is not known: `{name}` was not logged."
    most = max(point.value for point in differences)
    verdict = "Rollouts used the trained weights" if most < 1e-4 else "ROLLOUTS DID NOT USE THE TRAINED WEIGHTS"
    return f"{verdict}: `{name}` was at most {most:.1e} from step 2 on (`{differences[-1].file}`)."


def write_report(output: Path) -> Path:
    """Write report.md, report.html and plots into `output`, the folder of a finished quickstart (else
    FileNotFoundError); answers the path of report.md."""
    return write(quickstart_document(output), output / "report.md")


def quickstart_document(output: Path) -> Document:
    results = read_results(output)
    run, sft = (RunMetrics(output / stage, base=output) for stage in ("sp3f", "sft"))
    before, after = (results[stage, "test"]["greedy"] for stage in ("sft", "sp3f"))
    languages = [language for language in before if language != "all"]
    steps = max((point.step for points in run.series.values() for point in points), default=0)
    rows = len(read_parquet(output / "data" / "sft.parquet"))
    lead = f"""A tiny model, trained from scratch: SFT on {rows:,} rows with faults put
in on purpose (missing boxes, answers in English), then {steps} steps of SP3F. Every number is SFT → SP3F, the mean
over {len(languages)} languages ({plain(", ".join(languages))})."""
    sections = [
        _outcome(results),
        _per_language(before, after, languages),
        _how_to_read(run),
        Section("Stage 2: SP3F", trainer_sections(run)) if run.names else None,
        Section("Stage 1: SFT", trainer_sections(sft, "sft_")) if sft.names else None,
    ]
    return Document("SP3F quickstart", [*map(Text, [lead, *_not_numbers(results)]), *filter(None, sections)], output)


def _outcome(results: Results) -> Section:
    header = ["split", *COLUMNS.values()]
    blocks: list[Block] = []
    for decoding, said in (("greedy", "Greedy decoding:"), ("sampled", "Sampled at temperature 1:")):
        blocks += [Text(said), Table(header, summary_rows(results, decoding), said.strip(":"))]
    meanings = Items([f"**{split}**: {meaning}." for split, meaning in SPLITS.items()])
    return Section("Before and after", [*blocks, meanings, Text(f"From {', '.join(map(code, FILES.values()))}.")])


def _per_language(before: dict, after: dict, languages: list[str]) -> Section:
    panels = [
        Rows(
            COLUMNS[name],
            languages,
            [
                Values(stage, [_share(means, language, name) for language in languages], (), colour)
                for colour, (stage, means) in enumerate((("SFT", before), ("SP3F", after)))
            ],
            SHARE,
        )
        for name in ("accuracy", "fidelity")
    ]
    rows = [
        [plain(language), *(_change(part(before, language), part(after, language), name) for name in COLUMNS)]
        for language in languages
    ]
    said = Text("Split test, greedy, from `evaluation/sft_test.json` and `evaluation/sp3f_test.json`:")
    pictures = [Picture("languages.png", "Accuracy and fidelity per language", panels)] if languages else []
    return Section("Per language", [*pictures, said, Table(["language", *COLUMNS.values()], rows)])


def _share(means: dict, language: str, name: str) -> float | None:
    return finite(part(means, language).get(name))


def _how_to_read(run: RunMetrics) -> Section:
    text = f"""- *Boxed accuracy* needs the right number in the last box. *Lenient accuracy* also takes the number after
  the last `=`: where it does not move, RL taught the format and not the arithmetic.
- *Language fidelity* is the share of responses that are at least 70 % in the language of the question.
- The win rate compares the rollouts of one prompt with each other, so its mean over a group is always 0.5: it tells the
  good from the bad within a group and cannot show progress over steps.
- The judge is `judge=reference`, a deterministic stand-in that needs no model. It is not the paper's LLM judge.
- {_weights_sentence(run)}
- One seed. docs/quickstart.md has three and their spread."""
    return Section("How to read it", paragraphs(text))
