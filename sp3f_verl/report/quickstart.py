"""The report of a quickstart, and a table over several seeds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import read_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.results import HeldOut, read_object
from sp3f_verl.report.document.blocks import (
    SHARE,
    Block,
    Document,
    Items,
    Rows,
    Section,
    Table,
    Text,
    Values,
    paragraph,
    picture,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.document.write import write
from sp3f_verl.report.rl_and_sft import trainer_sections
from sp3f_verl.report.run_metrics import RunMetrics
from sp3f_verl.report.side_by_side import labels, sources
from sp3f_verl.report.values import finite, in_json, places_sentence
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
FILES = {(stage, split): f"evaluation/{stage}_{split}.json" for split in SPLITS for stage in ("sft", "sp3f")}
SOURCE = joined(map(code, FILES.values()))
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


def read_results(output: Path) -> Results:
    """What the quickstart's evaluations wrote, for the stages sft and sp3f. FileNotFoundError where a file is not
    there, BadInput where it cannot be read."""
    contents = {key: read_object(output / file) for key, file in FILES.items()}
    return {
        key: _means(HeldOut.of_json(content, output / FILES[key]), output / FILES[key])
        for key, content in contents.items()
    }


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
    """One row a split: SFT → SP3F of each measure, as the mean over the languages."""
    rows = []
    for split in SPLITS:
        before, after = (results[stage, split][decoding]["all"] for stage in ("sft", "sp3f"))
        rows.append([split, *(_change(before, after, name) for name in COLUMNS)])
    return Table(["split", *COLUMNS.values()], rows)


def _change(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> str:
    return f"{number(before.get(name))} → {number(after.get(name))}"


def _not_numbers(results: Results) -> list[Text]:
    return [text for key, file in FILES.items() for text in places_sentence(in_json(results[key]), file)]


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
    lead = paragraph(
        f"""A tiny model, trained from scratch: SFT on {rows:,} rows with faults put
in on purpose (missing boxes, answers in English), then {steps} steps of SP3F. Every number is SFT → SP3F, the mean
over {len(languages)} languages ({{}}).""",
        joined(languages),
    )
    sections = [
        _outcome(results, before, after, languages),
        _per_language(before, after, languages),
        _how_to_read(run),
        *([Section("Stage 2: SP3F", trainer_sections(run))] if run.names else []),
        *([Section("Stage 1: SFT", trainer_sections(sft, "sft_"))] if sft.names else []),
    ]
    return Document("SP3F quickstart", [lead, *_not_numbers(results), *sections], output)


def _outcome(results: Results, before: Means, after: Means, languages: list[str]) -> Section:
    panels = [
        Rows(
            f"{COLUMNS[name]}, test, greedy",
            languages,
            [
                Values(stage, [finite(means.get(language, {}).get(name)) for language in languages], (), colour)
                for colour, (stage, means) in enumerate((("SFT", before), ("SP3F", after)))
            ],
            SHARE,
        )
        for name in ("accuracy", "fidelity")
    ]
    blocks: list[Block] = picture("languages.png", "Accuracy and fidelity per language", panels if languages else [])
    for decoding, label in DECODINGS.items():
        blocks += [Text(f"{label}:"), table_of(results, decoding)]
    meanings = Items([Markdown("**{}**: {}.").format(split, meaning) for split, meaning in SPLITS.items()])
    return Section("Before and after", [*blocks, meanings, paragraph("From {}.", SOURCE)])


def _per_language(before: Means, after: Means, languages: list[str]) -> Section:
    rows = [
        [language, *(_change(before.get(language, {}), after.get(language, {}), name) for name in COLUMNS)]
        for language in languages
    ]
    source = joined(code(FILES[stage, "test"]) for stage in ("sft", "sp3f"))
    return Section("Per language", [Text("Split test, greedy:"), Table(["language", *COLUMNS.values()], rows, source)])


def _how_to_read(run: RunMetrics) -> Section:
    one_seed = "One seed. docs/quickstart.md has three and their spread."
    return Section("How to read it", [Items([*map(Markdown, READING), _weights_sentence(run), one_seed])])


def _weights_sentence(run: RunMetrics) -> Markdown:
    name = "training/rollout_probs_diff_max"
    differences = [point for point in run[name] if point.step >= 2]
    if not differences:
        return Markdown(f"Whether rollouts used the trained weights is not known: `{name}` was not logged.")
    most = max(point.value for point in differences)
    verdict = "Rollouts used the trained weights" if most < 1e-4 else "ROLLOUTS DID NOT USE THE TRAINED WEIGHTS"
    text = f"{verdict}: `{name}` was at most {most:.1e} from step 2 on ({{}})."
    return Markdown(text).format(code(differences[-1].file))


# ---- several seeds -------------------------------------------------------------------------------------------------


def compare_seeds(folders: list[Path]) -> list[Block]:
    """Mean ± sample standard deviation over several quickstart folders, SFT → SP3F, greedy and sampled."""
    every = [read_results(folder) for folder in folders]
    named = dict(zip(labels(folders), folders, strict=True))
    blocks: list[Block] = _same_seeds(named)
    for label, results in zip(named, every, strict=True):
        blocks += [paragraph("{}: {}", label, text.text) for text in _not_numbers(results)]
    if len({_settings(folder, seeds=False) for folder in folders}) > 1:
        blocks.append(paragraph("**They were not run with the same settings**: ± is no spread over seeds."))
    for decoding in DECODINGS:
        rows = []
        for split in SPLITS:
            cells = []
            for name in COLUMNS:
                before, after = (
                    mean_and_spread([results[stage, split][decoding]["all"].get(name) for results in every])
                    for stage in ("sft", "sp3f")
                )
                cells.append(f"{before} → {after}")
            rows.append([split, *cells])
        blocks += [Text(f"{decoding}, {len(folders)} seeds:"), Table(["split", *COLUMNS.values()], rows)]
    return [*blocks, sources(named, SOURCE)]


def _same_seeds(named: Mapping[str, Path]) -> list[Block]:
    of_seeds: dict[str, list[str]] = {}
    for label, folder in named.items():
        of_seeds.setdefault(_settings(folder, seeds=True), []).append(label)
    text = "**{} have the same seeds**: ± is no spread over seeds."
    return [paragraph(text, joined(same, " and ")) for seeds, same in of_seeds.items() if seeds and len(same) > 1]


def _settings(folder: Path, seeds: bool) -> str:
    """The seeds of a run, or all other settings; empty where they are not known."""
    try:
        settings = read_object(folder / "settings.json")
    except (OSError, BadInput):
        return ""
    own = {name: value for name, value in settings.items() if ("seed" in name) == seeds}
    return json.dumps(own, sort_keys=True) if own else ""
