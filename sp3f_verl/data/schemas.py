"""The columns of every file that a data step writes, as pyarrow schemas: enforced when written and when read.

A column that is not nullable must have a value in every row. The metadata entry `key` names the columns that identify
a row: they are unique in a file, and files are written in their order, so that the order of the input changes nothing.
Columns in `LANGUAGES` hold codes of `sp3f_verl.languages`, and those in `IDS` ids as `rows.id_of` has them: a text, or
a whole number. Of columns that are not nullable, those in `FILLED` hold no blank text. Columns of JSON text hold one
JSON object each.
A step that writes more columns makes its schema with `extended`.
"""

import pyarrow as pa

TEXT, NUMBER, WHOLE = pa.string(), pa.float64(), pa.int64()
MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))
IDS = ("id", "problem", "pair_id", "cand_id")
ANSWERS = ("answer", "ground_truth")  # a text, or a number as well
FILLED = (*IDS, "question", "query_en", "solution", "answer")
LANGUAGES = ("language", "prompt_lang", "chosen_lang", "rejected_lang", "lang_declared")


def make_schema(key: str, needed: dict[str, pa.DataType], others: dict[str, pa.DataType]) -> pa.Schema:
    """`key`: the columns that identify a row, joined by commas. `needed` columns have a value in every row."""
    fields = [pa.field(name, kind, nullable=False) for name, kind in needed.items()]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in others.items()], metadata={"key": key})


def extended(schema: pa.Schema, **columns: pa.DataType) -> pa.Schema:
    """The schema with nullable columns added at its end."""
    for name, kind in columns.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def key(schema: pa.Schema) -> tuple[str, ...]:
    """The columns that identify a row; () where the schema names none."""
    columns = (schema.metadata or {}).get(b"key", b"").decode()
    return tuple(columns.split(",")) if columns else ()


# The canonical row (SPEC 5). `meta` and `sampling` are JSON text, as their keys differ between sources.
PROMPT = make_schema(
    "id",
    {"id": TEXT, "source": TEXT, "prompt_lang": TEXT, "prompt": MESSAGES},
    {"task": TEXT, "split": TEXT, "reference_en": TEXT, "ground_truth": TEXT, "meta": TEXT},
)

CANDIDATE = make_schema(
    "id,cand_id",
    {"id": TEXT, "cand_id": TEXT, "lang_declared": TEXT, "status": TEXT},
    {
        "lang_detected": TEXT,
        "lang_share": NUMBER,
        "text": TEXT,
        "model": TEXT,
        "adapter": TEXT,
        "sampling": TEXT,
        "finish_reason": TEXT,
        "n_tokens": WHOLE,
        "logprob_sum": NUMBER,
        "logprob_mean": NUMBER,
        "reward_raw": NUMBER,
        "reward_z": NUMBER,
        "accuracy": NUMBER,
        "parsable": pa.bool_(),
    },
)

# The sides are texts: the assistant's turn that answers `prompt`.
PREFERENCE = make_schema(
    "id,pair_id",
    {"id": TEXT, "pair_id": TEXT, "prompt": MESSAGES, "prompt_lang": TEXT, "chosen": TEXT, "rejected": TEXT},
    {
        "chosen_lang": TEXT,
        "rejected_lang": TEXT,
        "chosen_score": NUMBER,
        "rejected_score": NUMBER,
        "margin": NUMBER,
        "len_chosen": WHOLE,
        "len_rejected": WHOLE,
        "recipe": TEXT,
        "pool_size": WHOLE,
    },
)

# What SPIN and T-SPIN train on; the names are the roles of losses/table.py.
TRIPLET = make_schema("id", {"id": TEXT, "prompt": MESSAGES, "real": TEXT}, {"generated": TEXT, "proto": TEXT})

SFT = make_schema("id", {"id": TEXT, "messages": MESSAGES}, {"language": TEXT})

# What `translate` writes and `sp3f` reads: `question` is in `language`, `query_en` and `solution` are English, and
# `problem` is the same in every language of a problem. The features are those of the worse of question and solution.
TRANSLATED = make_schema(
    "id",
    {
        "id": TEXT,
        "problem": TEXT,
        "language": TEXT,
        "question": TEXT,
        "query_en": TEXT,
        "solution": TEXT,
        "answer": TEXT,
    },
    {
        "translated_solution": TEXT,
        "source": TEXT,
        "checker": TEXT,
        "model": TEXT,
        "lang_share": NUMBER,
        "length_ratio": NUMBER,
        "numbers_kept": NUMBER,
        "back_translation": NUMBER,
    },
)

# verl's columns and ours. `messages` is the same row for SFT, where it has a solution in its own language.
RL = make_schema(
    "id",
    {
        "id": TEXT,
        "problem": TEXT,
        "data_source": TEXT,
        "prompt": MESSAGES,
        "reward_model": pa.struct([("style", TEXT), ("ground_truth", TEXT)]),
        "extra_info": pa.struct([("index", WHOLE), ("lang", TEXT), ("checker", TEXT)]),
        "language": TEXT,
    },
    {"query_en": TEXT, "solution_en": TEXT, "translated_solution": TEXT, "messages": MESSAGES},
)
