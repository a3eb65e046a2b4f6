"""The quickstart's last stage: greedy and sampled answers of a checkpoint to a held-out split, measured by language.

It measures more than `sp3f evaluate` does: accuracy whatever the format, which tells arithmetic from boxes.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.data.files import digest, read_parquet, write_json, write_text
from sp3f_verl.data.rows import canonical
from sp3f_verl.evaluation.results import DataFile, HeldOut
from sp3f_verl.evaluation.run import seed_of
from sp3f_verl.evaluation.scores import Sample, Scored, measures
from sp3f_verl.evaluation.summary import Column, mean, merged
from sp3f_verl.llm import Ask, Totals
from sp3f_verl.llm.backends.ray_pool import Pool
from sp3f_verl.llm.backends.transformers import TransformersBackend
from sp3f_verl.llm.backends.vllm import VLLMBackend
from sp3f_verl.progress import track
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.answers.checkers import checker_of
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.terms import THRESHOLD, rule_terms

MEASURES = ("accuracy", "lenient_accuracy", "fidelity", "parseable")
CONTEXT = 1024  # tokens, for which vLLM sets memory aside: a model's own may be a hundred times that
# The last number after an equals sign outside the box: the answer that was worked out, whether it was boxed or not.
_WORKED = re.compile(r"=\s*(-?\d+(?:[.,]\d+)?)")


@dataclass(frozen=True)
class Decoding:
    """One greedy answer, and `samples` at temperature 1, of at most `max_new_tokens`."""

    samples: int
    max_new_tokens: int
    seed: int
    # who answers. vllm: it takes half a minute to start and batches prompts of any length, so for models that are large
    backend: str = "transformers"


def evaluate(
    model: Path, files: Mapping[str, Path], folder: Path, stage: str, decoding: Decoding
) -> dict[str, HeldOut]:
    """Evaluate `model` on the rows of each split's parquet file; write STAGE_SPLIT.json and STAGE_SPLIT.responses.jsonl
    into `folder` for each."""
    splits = {split: [canonical(row) for row in read_parquet(file)] for split, file in files.items()}
    asked = [(row["id"], row["prompt"]) for rows in splits.values() for row in rows]
    answers = iter(_answers(model, asked, decoding))
    results = {}
    for split, rows in splits.items():
        scored = [(row, next(answers)) for row in rows]
        results[split] = _scored(model, files[split], scored, folder / f"{stage}_{split}.json", decoding)
    return results


def _scored(
    model: Path, data: Path, rows: Sequence[tuple[dict, list[str]]], output: Path, decoding: Decoding
) -> HeldOut:
    """rows: each with its responses."""
    languages = tuple(sorted({row["language"] for row, _ in rows}))
    greedy, sampled, lines = {}, {}, []
    for row, texts in rows:
        ident, language = row["id"], row["language"]
        measured = [measure([text], row, languages) for text in texts]
        greedy.setdefault(language, {})[ident] = Scored(measured[0])
        sampled.setdefault(language, {})[ident] = Scored(measure(texts[1:], row, languages))
        lines.append({"id": ident, "language": language, "responses": texts, "measured": measured})
    result = HeldOut(
        model=str(model),
        data=DataFile(file=data.name, sha256=digest(data), rows=len(rows)),
        decoding={name: value for name, value in asdict(decoding).items() if name != "backend"},
        greedy=_by_language(greedy),
        sampled=_by_language(sampled),
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(text, output.with_suffix(".responses.jsonl"))
    write_json(result.model_dump(), output)
    return result


def measure(texts: Sequence[str], row: dict[str, Any], languages: Sequence[str]) -> dict[str, float]:
    """MEASURES of the responses to a canonical row, means over them; no fidelity where no text has letters enough."""
    gold, language = row["reward_model"]["ground_truth"], row["language"]
    checker = checker_of(row["extra_info"])
    samples = [
        Sample.of_terms(rule_terms(text, gold, language, THRESHOLD, languages, checker=checker)) for text in texts
    ]
    values = measures(samples, len(texts), THRESHOLD)
    lenient = [
        max(sample.accuracy, float(lenient_match(text, gold, language)))
        for sample, text in zip(samples, texts, strict=True)
    ]
    if lenient:
        values["lenient_accuracy"] = sum(lenient) / len(lenient)
    return {name: values[name] for name in MEASURES if name in values}


def lenient_match(response: str, gold: str, language: str | None = None) -> bool:
    """The box is right, or the last number after `=` is: what the model can work out, whatever the format."""
    if answers_match(extract_boxed(response), gold, language=language):
        return True
    worked = _WORKED.findall(response)
    return bool(worked) and answers_match(worked[-1], gold, language=language)


def _by_language(columns: Mapping[str, Column]) -> dict[str, dict[str, float | None]]:
    """language -> measure -> mean, and `all`, the unweighted mean of the languages."""
    means = {language: {name: mean(column, name) for name in MEASURES} for language, column in columns.items()}
    every = merged(list(columns.values())) if columns else {}
    return means | {"all": {name: mean(every, name) for name in MEASURES}}


def _answers(model: Path, prompts: list[tuple[str, list]], decoding: Decoding) -> list[list[str]]:
    """For each (id, messages), in order: [greedy, sample 1, ..., sample n]."""
    texts: dict[str, dict[int, str]] = defaultdict(dict)
    with _backend(model, decoding) as backend:
        asks = [
            Ask(
                str(at),
                messages,
                decoding.max_new_tokens,
                temperature=float(number > 0),
                seed=seed_of(decoding.seed, ident),
                number=number,
            )
            for at, (ident, messages) in enumerate(prompts)
            for number in range(decoding.samples + 1)
        ]
        for answer in track(backend.answers(asks), "evaluate", len(asks)):
            if answer.text is None:
                raise RuntimeError(f"no answer to {prompts[int(answer.id)][0]}: {answer.message}")
            texts[answer.id][answer.number] = answer.text
    return [[text for _, text in sorted(texts[str(at)].items())] for at in range(len(prompts))]


def _backend(model: Path, decoding: Decoding) -> AbstractContextManager:
    totals = Totals(max_failure_share=0.0)
    if decoding.backend == "transformers":
        return TransformersBackend(model, totals=totals, batch=256)
    from transformers import AutoConfig

    os.environ["SP3F_DEVICE"] = "cpu"
    context = min(CONTEXT, AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings)
    return VLLMBackend(model, totals=totals, dtype="float32", max_model_len=context, pool=Pool(workers=1))
