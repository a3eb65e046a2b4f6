"""A preference set in many languages from an English one, by a config that says who writes which text.

A: prompt, chosen and rejected translated; B: the answers generated; C: chosen generated, rejected translated badly:
  python -m data_prep.architectures --config B --input data/english/train.parquet --output data/B
With other models, languages and shares, or a config of your own (recipes/architecture/ has the ones to start from):
  python -m data_prep.architectures --config my.yaml --input data/english/train.parquet --output data/mine \\
    --set models.translator.base_url=http://127.0.0.1:8000/v1 languages.de=0.5
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from sp3f_verl.architectures.build import MADE, Builder, read_english
from sp3f_verl.architectures.plan import Plan, read_plan
from sp3f_verl.architectures.share import jobs
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.notes import ASKED, PAIR_REPORT
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.preference_report import PreferenceReport
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Backend


def _run(options: argparse.Namespace) -> None:
    plan = read_plan(options.config, options.set)
    prompts = sorted({model.template_file for name, model in plan.models.items() if _translates(plan, name)})
    models = [f"{name}: {model.settings()['model']}" for name, model in plan.models.items()]

    def open_model(name: str, served: str | None) -> Backend:
        store = Path(f"{options.output}.{name}.answers.sqlite")
        return plan.models[name].open(served, store, lambda field: f"models.{name}.{field}")

    with Output(
        options.output, "architectures", plan.settings(), [options.input], models=models, prompts=prompts
    ) as out:
        rows = read_english(options.input)
        source_of = {ident: row["prompt_lang"] for ident, row in rows.items()}
        wanted = jobs(source_of, plan.languages, plan.weights, plan.seed, plan.copy_english)
        builder = Builder(rows, wanted, plan, open_model)
        report, written = PreferenceReport([code for code, share in plan.languages.items() if share]), Counter()

        def reported():
            for row in builder.pairs():
                report.add(row)
                written[row["recipe"]] += 1
                yield row

        count = out.write("train", reported(), MADE)
        for reason, number in builder.dropped.items():
            out.drop(reason, number)
        if not count:
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(builder.dropped.items()))
            raise BadInput(f"not one pair of {len(wanted)} could be made ({reasons or 'no rows are asked for'}).")
        asked_for = Counter(job.architecture for job in wanted)
        out.note("pairs", {name: {"wanted": asked_for[name], "made": written[name]} for name in sorted(asked_for)})
        out.note(ASKED, builder.totals)
        out.note("language_not_checked", sorted(builder.unchecked))
        out.note(PAIR_REPORT, report.result())
    counts = ", ".join(f"{written[name]} of {asked_for[name]} {name}" for name in sorted(asked_for))
    print(f"{count} pairs in {options.output} ({counts})")
    for warning in report.result()["warnings"]:
        print(f"note: {warning}")


def _translates(plan: Plan, name: str) -> bool:
    """Whether the model translates by a prompt."""
    roles = (role for parts in plan.roles.values() for role in parts.values())
    return plan.models[name].backend != "seq2seq" and any(
        role.how == "translate" and role.model == name for role in roles
    )


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--config", required=True, help="A, B, C or a YAML file")
    parser.add_argument("--input", type=Path, required=True, help="what data_prep.preferences wrote, or its columns")
    text = "values over the config's, such as models.chosen.model=NAME; may be repeated"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text)
    parser.add_argument("--output", type=Path, required=True, help="folder for train.parquet and manifest.json")
    options = parse(parser, arguments)
    return run_step("architectures", _run, options)


if __name__ == "__main__":
    sys.exit(main())
