"""Translated problems as rows of verl, column by column: hundreds of thousands of rows a second."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sp3f_verl import languages
from sp3f_verl.data.schemas import MESSAGES, RL


def rl_batch(batch: pa.RecordBatch, start: int = 0, data_source: str = "sp3f") -> pa.RecordBatch:
    """Rows of schemas.TRANSLATED as rows of schemas.RL, `extra_info.index` counting from `start`.

    The prompt is the language's instruction and the question. Where there is a solution in the row's own language (for
    English that is `solution`), `messages` are the prompt and the solution, for SFT.
    """
    rows, language = batch.num_rows, batch.column("language")
    solution = pc.if_else(pc.equal(language, "en"), batch.column("solution"), batch.column("translated_solution"))
    solution = pc.if_else(pc.equal(pc.utf8_trim_whitespace(solution), ""), pa.scalar(None, pa.string()), solution)
    source = batch.column("source").fill_null(data_source)
    system, question = _instructions(language), batch.column("question")
    index = pa.array(np.arange(start, start + rows))
    style = pa.repeat(pa.scalar("rule"), rows)
    columns = {
        "id": batch.column("id"),
        "problem": batch.column("problem"),
        "data_source": source,
        "prompt": _messages([system, question], ("system", "user"), np.ones(rows, bool)),
        "reward_model": _struct("reward_model", [style, batch.column("answer")]),
        "extra_info": _struct("extra_info", [index, language, batch.column("checker")]),
        "language": language,
        "query_en": batch.column("query_en"),
        "solution_en": batch.column("solution"),
        "translated_solution": solution,
        "messages": _messages(
            [system, question, solution], ("system", "user", "assistant"), pc.is_valid(solution).to_numpy(False)
        ),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RL.names], schema=RL)


def _instructions(language: pa.Array) -> pa.Array:
    encoded = language.dictionary_encode()
    texts = [languages.get(code).instruction for code in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _struct(name: str, columns: list[pa.Array]) -> pa.StructArray:
    return pa.StructArray.from_arrays(columns, fields=list(RL.field(name).type))


def _messages(contents: list[pa.Array], roles: tuple[str, ...], given: np.ndarray) -> pa.ListArray:
    """One list of messages a row, a turn from each of `contents`; null where not `given`."""
    turns = len(roles)
    if not given.all():
        contents = [content.filter(pa.array(given)) for content in contents]
    # Joined row by row, the texts' bytes stand as the turns' contents must: only the offsets are still to be told.
    joined = pc.binary_join_element_wise(*contents, "")
    lengths = np.stack([pc.binary_length(content).to_numpy(False) for content in contents], axis=1).ravel()
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    content = pa.StringArray.from_buffers(len(lengths), pa.py_buffer(ends), joined.buffers()[2] or pa.py_buffer(b""))
    role = pa.array(roles).take(pa.array(np.tile(np.arange(turns), len(joined))))
    turn = pa.StructArray.from_arrays([role, content], fields=list(MESSAGES.value_type))
    offsets = np.concatenate([[0], np.cumsum(given * turns)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), turn, type=MESSAGES, mask=None if given.all() else pa.array(~given)
    )
