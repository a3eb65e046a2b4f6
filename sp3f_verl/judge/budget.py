"""What the judges of a run have cost, over all of its resumes, and the budget that they must not pass."""

import json
import time
from pathlib import Path

from sp3f_verl.data.files import write_text
from sp3f_verl.errors import BadInput

SECONDS_BETWEEN_WRITES = 1.0  # so much spending a SIGKILL can make the file forget


class OverBudget(Exception):
    """The next request could cost more than what is left. The message is one sentence."""


class Budget:
    """Dollars spent and held. A request is held at the most that it may cost, and paid at what it did cost."""

    def __init__(self, limit_usd: float | None = None, path: Path | None = None):
        """Raises BadInput for a file of earlier spending that cannot be read, or that the budget is used up by."""
        self.limit, self.path = limit_usd, path
        self.spent = self._read() if path else 0.0
        self._held, self._written, self._unwritten = 0.0, 0.0, ""
        if limit_usd is not None and self.spent >= limit_usd:
            raise BadInput(
                f"the judge has cost {self.spent:.4f} USD, all of sp3f.judge.budget_usd={limit_usd:g}; raise it."
            )

    def hold(self, usd: float) -> None:
        """Raises OverBudget, and holds nothing, where spent + held + usd would pass the budget, or where spending can
        no longer be written down."""
        if self.limit is not None and self._unwritten:
            raise OverBudget(self._unwritten)
        if self.limit is not None and self.spent + self._held + usd > self.limit:
            raise OverBudget(
                f"the judge has cost {self.spent:.4f} USD and the next request could pass "
                f"sp3f.judge.budget_usd={self.limit:g}; raise it and start the same command to go on."
            )
        self._held += usd

    def pay(self, held: float, usd: float) -> None:
        """Release what `hold` held and book what the request cost (0 where it failed unanswered)."""
        self._held -= held
        self.spent += usd
        if usd and self.path and time.monotonic() - self._written > SECONDS_BETWEEN_WRITES:
            self.write()

    def allows(self, usd: float) -> bool:
        """Whether `usd` more fit into the budget."""
        return self.limit is None or self.spent + usd <= self.limit

    def write(self) -> None:
        """Once there is something to say. Never raises: no answer that was paid for is lost to a full disk. A budget
        then ends the run."""
        if self.path is None or not self.spent:
            return
        try:
            write_text(json.dumps({"spent_usd": self.spent}) + "\n", self.path)
            self._unwritten = ""
        except OSError as error:
            self._unwritten = f"sp3f.judge.spending_file={self.path} cannot be written ({error}); mend that to go on."
        self._written = time.monotonic()

    def _read(self) -> float:
        try:
            spent = json.loads(self.path.read_text())["spent_usd"]
            if isinstance(spent, (int, float)) and 0 <= spent < float("inf"):
                return float(spent)
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise BadInput(f"sp3f.judge.spending_file={self.path} does not say what was spent; mend or remove it.")
