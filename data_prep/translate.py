"""English problems (question, solution) or chats into any language of the table, through a model.

  python -m data_prep.translate --input gsm8k_train.jsonl --languages es sw th --output data/translated \\
    --model gpt-4o-mini --price-in 0.15 --price-out 0.6
  python -m data_prep.sp3f --translated data/translated/translated.parquet --output data/sp3f

Run it again to go on after a kill: what was answered is not asked again.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.notes import ASKED, YIELD
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Answer, Ask
from sp3f_verl.llm.backends.base import Backend
from sp3f_verl.llm.cli_options import add_model_options, model_options, open_model, store_of, watched
from sp3f_verl.rewards import UnsupportedLanguage, language_share
from sp3f_verl.translate import rows
from sp3f_verl.translate.ask import Sampling, translate
from sp3f_verl.translate.choose import WEIGHTS, Criteria
from sp3f_verl.translate.prompt import PROMPT
from sp3f_verl.translate.sources import MOST_LEFT_OUT, Problem, read
from sp3f_verl.translate.yields import Yields


def _run(options: argparse.Namespace) -> None:
    if len(set(options.languages)) < len(options.languages):
        raise BadInput("--languages names a language twice; name each once.")
    for code in options.languages:
        languages.get(code, "--languages")
        try:
            language_share("", code)
        except UnsupportedLanguage as error:
            raise BadInput(f"--languages: {error}") from None
    sampling = Sampling(options.candidates, options.max_tokens, options.temperature, options.top_p, options.seed)
    criteria = Criteria(
        options.min_language_share,
        options.min_numbers,
        tuple(options.length_ratio),
        options.min_back_translation,
        options.keep_structure,
        dict(WEIGHTS) | dict(options.weights),
    )
    back = options.back_translation or options.min_back_translation is not None
    asked = model_options(options)
    settings = {"languages": options.languages, "question_only": options.question_only}
    settings |= {"backend": asked.engine, "model": asked.model, "adapter": asked.adapter}
    settings |= {"sampling": asdict(sampling), "criteria": asdict(criteria), "back_translation": back}
    left_out: list[str] = []
    source = read(options.input, left_out.append, options.max_left_out)[: options.limit]
    settings["limit"] = options.limit
    packages = ("vllm",) if asked.engine == "vllm" else ()
    with Output(options.output, "translate", settings, options.input, prompts=[PROMPT], packages=packages) as out:
        for reason in left_out:
            out.drop(reason)
        with open_model(asked, store_of(options)) as backend:
            out.models = [backend.model]
            tally = _translate(source, options, sampling, criteria, back, backend, out)
            out.note(ASKED, backend.totals.as_dict())
    kept = sum(out.rows["chats" if "chats" in out.rows else "translated"].values())
    print(f"{kept} of {len(source) * len(options.languages)} rows translated in {options.output}")
    for sentence in tally.sentences():
        print(sentence)
    errors = out.notes[ASKED]["answers"].get("error", 0)
    if errors:
        print(f"{errors} answers are errors; another --output with this --store asks for them alone again")


def _translate(source, options, sampling: Sampling, criteria: Criteria, back: bool, backend: Backend, out) -> Yields:
    pairs = [(row, language) for language in options.languages for row in source]
    texts_of = [[*rows.texts_of(row, language, not options.question_only)] for row, language in pairs]
    texts = {text.name: text for own in texts_of for text in own}

    def answers(asks: Iterable[Ask], total: int) -> Iterator[Answer]:
        return watched(backend.answers(asks), backend, total)

    candidates, drawn = translate(texts, answers, sampling, criteria, back)
    best = rows.best_of(candidates, criteria)
    is_problem = isinstance(source[0], Problem)
    tally = Yields(len(source))

    def translated() -> Iterator[dict]:
        for (row, language), own in zip(pairs, texts_of, strict=True):

            def drop(reason: str, language: str = language) -> None:
                out.drop(reason)
                tally.drop(language, reason)

            args = (best, backend.model, drop) if is_problem else (best, drop)
            made = (rows.problem_row if is_problem else rows.chat_row)(row, language, *args)
            if made is not None:
                chosen = ((text, best[text.name]) for text in own)
                tally.keep(language, [(text, found) for text, found in chosen if found.reason is None])
                yield made

    name, schema = ("translated", rows.PROBLEMS) if is_problem else ("chats", rows.CHATS)
    if not out.write(name, translated(), schema):
        out.refuse(f"not one of {len(pairs)} rows is translated")
    out.write("candidates", rows.candidate_rows(texts, candidates, best, drawn, sampling), rows.CANDIDATES)
    out.note(YIELD, tally.result())
    return tally


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER, such as length=0.5") from None


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    text = "GSM8K's JSON lines; parquet or JSON lines with question, solution, answer; or chats with messages"
    parser.add_argument("--input", type=Path, nargs="+", required=True, help=text)
    parser.add_argument("--languages", nargs="+", required=True, metavar="CODE", help="ISO 639-1; en is copied")
    parser.add_argument("--output", type=Path, required=True, help="folder for translated.parquet or chats.parquet")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows in the order of their ids")
    text = f"of the rows that lack something, above which to stop (default: {MOST_LEFT_OUT:g})"
    parser.add_argument("--max-left-out", type=float, default=MOST_LEFT_OUT, metavar="SHARE", help=text)
    parser.add_argument("--question-only", action="store_true", help="leave solutions English (enough for RL)")
    group = parser.add_argument_group("candidates")
    group.add_argument("--candidates", type=int, default=4, metavar="N", help="translations of each text (default: 4)")
    group.add_argument("--max-tokens", type=int, default=2048, help="of one translation (default: 2048)")
    group.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    group.add_argument("--top-p", type=float, help="default: the server's")
    group.add_argument("--seed", type=int, default=1, help="default: 1")
    group = parser.add_argument_group("what passes")
    known = Criteria()
    text = f"share of letters in the language (default: {known.language_share:g}; 0: any)"
    group.add_argument("--min-language-share", type=float, default=known.language_share, metavar="SHARE", help=text)
    text = f"share of the numbers that are kept (default: {known.numbers:g})"
    group.add_argument("--min-numbers", type=float, default=known.numbers, metavar="SHARE", help=text)
    text = "translation to source (default: {:g} {:g})".format(*known.length)
    group.add_argument("--length-ratio", type=float, nargs=2, default=known.length, metavar=("LOW", "HIGH"), help=text)
    group.add_argument("--keep-structure", action="store_true", help="as many lines as the source")
    group.add_argument("--back-translation", action="store_true", help="translate each candidate back and compare")
    text = "least chrF of the back-translation, in [0, 1]; implies --back-translation"
    group.add_argument("--min-back-translation", type=float, metavar="CHRF", help=text)
    text = "in the score of those that pass (default: {})".format(" ".join(f"{n}={w:g}" for n, w in WEIGHTS.items()))
    group.add_argument("--weights", type=_weight, nargs="+", default=[], metavar="NAME=NUMBER", help=text)
    add_model_options(parser)
    options = parse(parser, arguments)
    return run_step("translate", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
