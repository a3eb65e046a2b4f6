"""WMT24++ with ids, and translators compared on it.

  python -m data_prep.wmt prepare --pairs en-de_DE en-is_IS --first 300 --output data/wmt
  python -m data_prep.wmt translate --segments data/wmt/segments.parquet --model gpt-4o --output data/wmt_gpt
  python -m data_prep.wmt compare --segments data/wmt/segments.parquet \\
    --candidates gpt=data/wmt_gpt/translations.parquet other=other.jsonl --output data/wmt_scores

A file of candidates (parquet or JSON lines) has id and lp of the segments, and translation: null where there is none.
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from sp3f_verl.architectures.model import Model, SourceText
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.notes import ASKED
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.rows import id_of
from sp3f_verl.data.sets.wmt import (
    ALL,
    AVERAGE,
    HUB,
    SCORE,
    SEGMENT,
    SENTENCE,
    TEST,
    TRANSLATION,
    from_hub,
    locale_of,
    read_segments,
)
from sp3f_verl.data.tables import open_file, read_rows
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.evaluation.results import FILE, TranslationSummary
from sp3f_verl.evaluation.translation.comet import comet_scores
from sp3f_verl.evaluation.translation.scores import averages, best, scored
from sp3f_verl.evaluation.translation.significance import corpus_tests, sentence_tests
from sp3f_verl.llm import Status
from sp3f_verl.llm.cli_options import add_model_options, model_options, open_model, store_of
from sp3f_verl.llm.options import flag
from sp3f_verl.log import log
from sp3f_verl.report.command import report, tables


def _prepare(options: argparse.Namespace) -> None:
    settings = {"first": options.first, "sample": options.sample, "seed": options.seed}
    paths = options.input or [from_hub(pair) for pair in options.pairs]
    with Output(options.output, "wmt prepare", settings, paths) as out:
        segments = read_segments(paths, options.first, options.sample, options.seed)
        out.write("segments", segments.rows, SEGMENT)
        for reason, count in segments.dropped.items():
            out.drop(reason, count)
    there, wanted = len({row["id"] for row in segments.rows}), options.first or options.sample or 0
    if there < wanted:
        print(f"{there} segments are in every file, not {wanted}: all are taken")
    print(f"{len(segments.rows)} rows in {options.output}")


def _translate(options: argparse.Namespace) -> None:
    asked = model_options(options)
    model = Model(temperature=options.temperature, max_tokens=options.max_tokens, template=options.template)
    model.check(flag)
    settings = {name: getattr(options, name) for name in ("temperature", "max_tokens", "template")}
    settings |= {"model": asked.model, "backend": asked.engine}
    with Output(options.output, "wmt translate", settings, [options.segments], prompts=[model.template_file]) as out:
        rows = {f"{row['id']} {row['lp']}": row for row in read_rows(options.segments, SEGMENT)}
        translations = []
        with open_model(asked, store_of(options)) as backend:
            texts = (
                SourceText(ident, row["source"], "en", row["language"], locale_of(row["lp"]))
                for ident, row in rows.items()
            )
            for answer in model.translations(texts, backend):
                row, text = rows[answer.id], (answer.text or "").strip() or None
                good = answer.status is Status.OK and text is not None
                if not good:
                    out.drop(str(answer.status) if answer.status is not Status.OK else "empty")
                identity = {name: row[name] for name in ("id", "lp", "language")}
                translations.append(identity | {"status": str(answer.status), "translation": text if good else None})
            out.models.append(backend.model)
            out.note(ASKED, backend.totals.as_dict())
        if not any(row["translation"] for row in translations):
            out.refuse(f"not one of {len(translations)} segments is translated")
        out.write("translations", translations, TRANSLATION)
    print(
        f"{len(translations) - sum(out.drops.values())} of {len(translations)} segments translated in {options.output}"
    )


def _compare(options: argparse.Namespace) -> None:
    paths = dict(options.candidates)
    if len(paths) < len(options.candidates):
        raise BadInput("--candidates names a translator twice; give each a name of its own.")
    if options.baseline is not None and options.baseline not in paths:
        raise BadInput(f"--baseline={options.baseline} is none of --candidates{nearest(options.baseline, paths)}.")
    baseline = options.baseline or next(iter(paths))
    settings = {"candidates": list(paths), "tokenize": dict(options.tokenize), "baseline": baseline}
    settings |= {"comet": options.comet_model} if options.comet_model else {}
    inputs, packages = [options.segments, *paths.values()], ["sacrebleu"]
    with Output(options.output, "wmt compare", settings, inputs, packages=packages) as out:
        segments = list(read_rows(options.segments, SEGMENT))
        targets = sorted({row["language"] for row in segments})
        if unknown := [code for code in dict(options.tokenize) if code not in targets]:
            raise BadInput(
                f"--tokenize names {unknown[0]}, but the segments are in {', '.join(targets)}; use these codes."
            )
        wanted = {(row["id"], row["lp"]) for row in segments}
        texts = {name: _texts(path, wanted, name, out) for name, path in paths.items()}
        comet = _comet(segments, texts, options) if options.comet_model else None
        scores, sentences, signatures = scored(segments, texts, dict(options.tokenize), comet)
        for lp, own in signatures.items():
            if "blank" in own:
                log.warning("%s: %s; its BLEU is left blank", lp, own["blank"])
        means, winners = averages(scores), best(scores)
        kinds = ("bleu", "chrf", "comet") if options.comet_model else ("bleu", "chrf")
        tests = corpus_tests(segments, texts, baseline, dict(options.tokenize))
        tests = sorted(tests + sentence_tests(sentences, baseline, kinds), key=_order)
        for name, rows, schema in (
            ("scores", scores, SCORE),
            ("sentences", sentences, SENTENCE),
            ("averages", means, AVERAGE),
            ("tests", tests, TEST),
        ):
            out.write(name, rows, schema)
        summary = TranslationSummary(
            kind="translation", scores=scores, averages=means, tests=tests, best=winners, signatures=signatures
        )
        out.write_text(FILE, summary.text())
        out.note("best", winners)
        out.note("signatures", signatures)
    print(tables(options.output))
    print(report([options.output]))


def _order(row: dict) -> tuple:
    return row["lp"] == ALL, row["lp"], row["translator"], row["metric"]


def _comet(segments: list[dict], texts: dict, options: argparse.Namespace) -> dict[tuple[str, str, str], float]:
    """(translator, id, lp) -> score, all by one load of the model."""
    places = [(name, row) for name in texts for row in segments]
    samples = [
        {"src": row["source"], "mt": texts[name].get((row["id"], row["lp"]), ""), "ref": row["reference"]}
        for name, row in places
    ]
    scores = comet_scores(options.comet_model, samples, options.comet_python, options.comet_gpus)
    return {(name, row["id"], row["lp"]): score for (name, row), score in zip(places, scores, strict=True)}


def _texts(path: Path, wanted: set, name: str, out: Output) -> dict[tuple[str, str], str]:
    """(id, lp) -> translation. BadInput where a segment comes twice or not one is there."""
    file = open_file(path)
    file.require(("id", "lp", "translation"), "a file of candidates has id, lp and translation")
    texts: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, str]] = set()
    for number, row in file.rows(("id", "lp", "translation")):
        text = row["translation"]
        place = id_of(row["id"], file.place(number)), row["lp"]
        if not isinstance(row["lp"], str):
            raise BadInput(f"{file.place(number)}: lp is {row['lp']!r:.60}; it is a pair such as en-de_DE.")
        if text is not None and not isinstance(text, str):
            raise BadInput(f"{file.place(number)}: translation is {text!r}; give a text, or null where there is none.")
        if place in seen:
            raise BadInput(f"{file.place(number)} has segment {place[0]!r} of {row['lp']} again; keep one of them.")
        seen.add(place)
        if place in wanted:
            texts[place] = (text or "").strip()
        else:
            out.drop(f"{name}: no such segment")
    if not any(texts.values()):
        raise BadInput(f"{path} has no translation of a segment of --segments; give the ids and lp of that file.")
    return texts


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, such as gpt=translations.parquet")
    return name, Path(path)


def _moved(text: str) -> NoReturn:
    raise argparse.ArgumentTypeError("is now --comet-model; write that")


def _tokenize(text: str) -> tuple[str, str]:
    code, equals, name = text.partition("=")
    if not (code and equals and name):
        raise argparse.ArgumentTypeError(f"{text!r} is not LANGUAGE=TOKENIZER, such as ja=char")
    return code, name


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="segments with ids from the set's files")
    given = command.add_mutually_exclusive_group(required=True)
    given.add_argument("--pairs", nargs="+", metavar="PAIR", help=f"such as en-de_DE, from {HUB} on the Hub")
    given.add_argument("--input", type=Path, nargs="+", help="files of WMT24++, one a language pair")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--first", type=int, metavar="N", help="the first N segments that all files have (default: all)")
    which.add_argument("--sample", type=int, metavar="N", help="a seeded sample of N of them")
    command.add_argument("--seed", type=int, default=1, help="seed of the sample (default: 1)")
    command.set_defaults(do=_prepare)
    command = commands.add_parser("translate", help="the segments by a model")
    command.add_argument("--segments", type=Path, required=True, help="segments.parquet of `prepare`")
    command.add_argument("--temperature", type=float, default=0.0, help="default: 0")
    command.add_argument("--max-tokens", type=int, default=768, help="of a translation (default: 768)")
    command.add_argument("--template", default="translate", help="translate, translate_plain, or a file of your own")
    add_model_options(command)
    command.set_defaults(do=_translate)
    command = commands.add_parser("compare", help="BLEU and chrF++ of several translators (needs sacrebleu)")
    command.add_argument("--segments", type=Path, required=True, help="segments.parquet of `prepare`")
    command.add_argument("--candidates", type=_named, nargs="+", required=True, metavar="NAME=FILE")
    text = "BLEU's tokenizer (default: ja-mecab, ko-mecab, zh; char where a script has no spaces, as in th; else 13a)"
    command.add_argument("--tokenize", type=_tokenize, nargs="+", default=[], metavar="LANGUAGE=NAME", help=text)
    command.add_argument("--baseline", metavar="NAME", help="whom the others are tested against (default: the first)")
    text = "COMET too, by a model such as Unbabel/wmt22-comet-da (pip install unbabel-comet, elsewhere)"
    command.add_argument("--comet-model", metavar="MODEL", help=text)
    command.add_argument("--comet", type=_moved, help=argparse.SUPPRESS)
    text = "the Python that has unbabel-comet (default: this one)"
    command.add_argument("--comet-python", default=sys.executable, metavar="PYTHON", help=text)
    command.add_argument("--comet-gpus", type=int, default=0, metavar="N", help="GPUs for COMET (default: 0)")
    command.set_defaults(do=_compare)
    for command in commands.choices.values():
        command.add_argument("--output", type=Path, required=True, help="folder for the files and manifest.json")
    options = parse(parser, arguments)
    return run_step("wmt", options.do, options)


if __name__ == "__main__":
    sys.exit(main())
