"""A program that asks for N rows and prints each answer as it is handed on: for a test to kill."""

import sys
from pathlib import Path

from sp3f_verl.llm import Ask, Endpoint, Store
from sp3f_verl.llm.backends.openai import OpenAIBackend

if __name__ == "__main__":
    url, store, rows, concurrency = sys.argv[1:]
    asks = (Ask(str(row), [{"role": "user", "content": f"question-{row}"}], 9) for row in range(int(rows)))
    with OpenAIBackend(Endpoint((url,), "stub", concurrency=int(concurrency)), Store(Path(store))) as backend:
        for answer in backend.answers(asks):
            print(answer.text, flush=True)
