r"""Preference pairs and best-of-n rows from scored candidates (CroCo): for `+recipe=croco` and `+recipe=croco_sft`.

  python -m data_prep.croco --candidates data/scored/candidates.parquet --prompts data/candidates/prompts.parquet \
    --output data/croco                                              # pairs within a language
  python -m data_prep.croco ... --pool cross_language --consistency pair --output data/croco-cross

It writes train.parquet and validation.parquet (pairs), sft_train.parquet and sft_validation.parquet (the best candidate
with its prompt), and in manifest.json the diagnostics of the pools and of the pairs, which `sp3f report` shows.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.candidate_files import CandidateFiles, Texts
from sp3f_verl.data.notes import PAIR_REPORT
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.preference_report import PreferenceReport
from sp3f_verl.data.prompts import Prompts
from sp3f_verl.data.schemas import NUMBER, PREFERENCE, SFT, extended
from sp3f_verl.data.tables import as_batches
from sp3f_verl.errors import BadInput
from sp3f_verl.selection import Candidates, Pairs, Settings, best_of_n, choose, pool_diagnostics
from sp3f_verl.selection.candidates import seeded
from sp3f_verl.selection.choose import VALUES

# *_score and margin are in units of the scale that pairs are chosen by; *_reward is the reward model's.
PAIRS = extended(PREFERENCE, chosen_reward=NUMBER, rejected_reward=NUMBER)
BEST = SFT.with_metadata({"key": "id,language"})
PART = 4096  # rows that are gathered before they are written


def pair_rows(texts: Texts, candidates: Candidates, pairs: Pairs, prompts: Prompts) -> Iterator[dict]:
    """Rows of PAIRS, as the files give the texts."""
    numbers = np.stack([candidates.number[pairs.chosen], candidates.number[pairs.rejected]], axis=1)
    settings = pairs.settings
    recipe = f"croco {settings.pool} {settings.rule} {settings.scale}"
    for at, (one, other) in texts.of(numbers):
        chosen, rejected = int(pairs.chosen[at]), int(pairs.rejected[at])
        prompt_id, chosen_lang, _ = candidates.name(chosen)
        code = candidates.languages[pairs.prompt_language[at]]
        yield {
            "id": prompt_id,
            "pair_id": f"{one.name}>{other.name}",
            "prompt": prompts.messages(prompt_id, code),
            "prompt_lang": code,
            "chosen": one.text,
            "rejected": other.text,
            "chosen_lang": chosen_lang,
            "rejected_lang": candidates.name(rejected)[1],
            "chosen_score": pairs.ranking[chosen],
            "rejected_score": pairs.ranking[rejected],
            "chosen_reward": candidates.score[chosen],
            "rejected_reward": candidates.score[rejected],
            "margin": pairs.margin[at],
            "len_chosen": len(one.text),
            "len_rejected": len(other.text),
            "recipe": recipe,
            "pool_size": int(pairs.pool_size[pairs.pool[at]]),
        }


def best_rows(texts: Texts, candidates: Candidates, best: np.ndarray, prompts: Prompts) -> Iterator[dict]:
    """Rows of BEST: the best candidate of each pool behind the prompt in its language."""
    for at, (one,) in texts.of(candidates.number[best][:, None]):
        prompt_id, code, _ = candidates.name(best[at])
        answer = {"role": "assistant", "content": one.text}
        yield {"id": prompt_id, "messages": [*prompts.messages(prompt_id, code), answer], "language": code}


def held_out(ids: set[str], share: float, seed: int) -> set[str]:
    """The ids of validation: those with the lowest hashes, one at least where there are two."""
    if not share or len(ids) < 2:
        return set()
    ordered = sorted(ids, key=lambda ident: (seeded(seed, f"validation {ident}"), ident))
    return set(ordered[: min(len(ids) - 1, max(1, round(share * len(ids))))])


def _write(out: Output, names: tuple[str, str], rows: Iterator[dict], schema, held: set[str], watch=None) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(out.writer(name, schema)) for name in names[: 1 + bool(held)]]
        for part in iter(lambda: [row for _, row in zip(range(PART), rows, strict=False)], []):
            for writer, is_held in zip(writers, (False, True), strict=False):
                some = [row for row in part if (row["id"] in held) is is_held]
                for batch in as_batches(some, schema, f"{writer.path.name}") if some else ():
                    writer.write(batch)
            for row in part if watch else ():
                watch(row)


def _assemble(out: Output, files: CandidateFiles, prompts: Prompts, settings: Settings, share: float) -> None:
    scratch = out.path("")
    candidates = files.candidates(scratch)
    if np.isnan(candidates.score).all():
        raise BadInput("the candidates have no score, not one; run data_prep.score on them first.")
    pairs = choose(candidates, settings)
    diagnostics = pool_diagnostics(candidates, pairs)
    out.note("pools", diagnostics)
    for kind, counts in (("candidate", pairs.dropped()), ("pool", pairs.skipped())):
        for reason, count in counts.items():
            out.drop(f"{kind}: {reason}", count)
    if not len(pairs):
        reasons = ", ".join(f"{count} {reason}" for reason, count in out.drops.items()) or "no candidates"
        raise BadInput(f"the candidates give not one pair ({reasons}); generate more, or loosen the limits.")
    held = held_out({candidates.ids[at] for at in np.unique(candidates.prompt[pairs.chosen])}, share, settings.seed)
    texts = Texts(files, scratch)
    report = PreferenceReport(candidates.languages)
    rows = pair_rows(texts, candidates, pairs, prompts)
    _write(out, ("train", "validation"), rows, PAIRS, held, lambda row: report.add(_with_source(row, prompts)))
    best = best_of_n(candidates, settings)
    _write(out, ("sft_train", "sft_validation"), best_rows(texts, candidates, best, prompts), BEST, held)
    preferences = report.result()
    out.note(PAIR_REPORT, preferences)
    for warning in (*diagnostics["warnings"], *preferences["warnings"]):
        print(f"warning: {warning}")


def _with_source(row: dict, prompts: Prompts) -> dict:
    return row | {"source": prompts.source(row["id"], row["prompt_lang"])}


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: value for name in FIELDS if (value := getattr(options, name)) is not None}
    if given.get("min_language_share") == 0:
        given["min_language_share"] = None
    return Settings.original(**given) if options.original else Settings(**given)


FIELDS = tuple(field.name for field in dataclasses.fields(Settings))


def _run(options: argparse.Namespace) -> None:
    settings = _settings(options)
    if not 0 <= options.validation < 1:
        raise BadInput(f"--validation={options.validation:g} is no share; give a number from 0 to below 1.")
    prompts, files = Prompts(options.prompts), CandidateFiles(options.candidates)
    recorded = dataclasses.asdict(settings) | {"validation": options.validation}
    with Output(options.output, "croco", recorded, [*options.candidates, *options.prompts]) as out:
        _assemble(out, files, prompts, settings, options.validation)
    for name, counts in out.rows.items():
        print(f"{name}: " + ", ".join(f"{count} {code}" for code, count in counts.items()))


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--candidates", type=Path, nargs="+", required=True, metavar="FILE", help="scored ones")
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, metavar="FILE", help="what they answer")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pairs and best-of-n rows")
    parser.add_argument(
        "--validation", type=float, default=0.01, metavar="SHARE", help="of the prompts (default: 0.01)"
    )
    group = parser.add_argument_group("selection (docs/selection.md; left out: our defaults, or those of --original)")
    group.add_argument("--original", action="store_true", help="CroCo's own: raw scores, every candidate takes part")
    for name, values in VALUES.items():
        group.add_argument(f"--{name.replace('_', '-')}", choices=values)
    group.add_argument("--min-margin", type=float, metavar="UNITS", help="of the scale, between chosen and rejected")
    group.add_argument("--max-length-ratio", type=float, metavar="RATIO", help="of the longer side to the shorter")
    group.add_argument("--length-residual", action="store_true", default=None, help="rank by what length leaves over")
    text = "leave out candidates below it (default: 0.7; 0: none)"
    group.add_argument("--min-language-share", type=float, metavar="SHARE", help=text)
    group.add_argument("--keep-truncated", action="store_true", default=None)
    group.add_argument("--keep-duplicates", action="store_true", default=None)
    group.add_argument("--seed", type=int, help="of what is drawn, the split included (default: 1)")
    options = parse(parser, arguments)
    return run_step("croco", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
