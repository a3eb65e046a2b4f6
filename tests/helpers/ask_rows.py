"""A program that asks for N rows and prints each answer as it is handed on: for a test to kill. Its disk is slow."""

import sys
import time
from pathlib import Path

from sp3f_verl.llm import Ask, Endpoint, Store
from sp3f_verl.llm.backends.openai import OpenAIBackend


class SlowDisk(Store):
    def put_many(self, items):
        time.sleep(0.03)
        super().put_many(items)


if __name__ == "__main__":
    url, store, rows, concurrency = sys.argv[1:]
    asks = (Ask(str(row), [{"role": "user", "content": f"question-{row}"}], 9) for row in range(int(rows)))
    with OpenAIBackend(Endpoint((url,), "stub", concurrency=int(concurrency)), SlowDisk(Path(store))) as backend:
        for answer in backend.answers(asks):
            print(answer.text, flush=True)
