"""What the rule rewards cost, beside the original's method written down from its specification (SPEC 1c, 1g).

The original: a lingua detector of {target, English} for each language, all built at the start, the share of the words
that it labels as the target; and math-verify on the bare content of the box. It needs lingua (`pip install
'sp3f-verl[lingua]'`) and is left out without it. Responses of 3 kB: real sentences where SP3F_REAL_DATA names them,
else the instructions of the language table over and over. Times of a response are of the CPU.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.rewards import extract_boxed, rule_terms, rule_terms_async
from sp3f_verl.rewards.answers import symbolic

SP3F = tuple("ar bn de en es fr hi id it ja ko pt ru sw te th yo zh".split())
DATA = Path(os.environ.get("SP3F_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
BYTES, ROUNDS = 3000, 25
# CPU milliseconds of a response: in the median language, in the slowest, of half English; seconds of 100 kB of anything
MEDIAN_MS, SLOWEST_MS, MIXED_MS, HOSTILE_SECONDS = 2.0, 3.0, 5.0, 0.3
START_SECONDS, START_MB = 1.5, 250
HOSTILE = 20
UNITS = (
    r"\text{a ",
    r"\frac{1}{",
    "{",
    "$she$ ",
    "$",
    "`the` ",
    "```\nthe\n",
    "a.",
    "a@b.c ",
    "https://a.io/the ",
    "e\u0301",
    "x",
)
UNITS += (
    "the дом 中文 かな 한국 سلام ",
    "12.5 ",
    "= ",
    "Docker ",
    "ọ̀rọ̀ ",
    "\u202ea",
    "Ab-Cd-",
    "\"the' ",
    "<think>",
    "a;",
)
START = """
import json, resource, time
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
import sp3f_verl.rewards as rewards
before, start = peak(), time.perf_counter()
rewards.language_share("Ella vende los huevos en el mercado.", "es")
print(json.dumps([time.perf_counter() - start, before, peak()]))
"""


def response(code: str) -> str:
    file = DATA / "sentences" / f"{code}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else [languages.get(code).instruction] * 100
    text = " ".join(lines).replace("$", "").encode()[: BYTES - 100].decode(errors="ignore")
    return text + r" $x + 5 = 17$, \frac{24}{2} = 12. \boxed{12}"


class Original:
    """SP3F's utils.py and reward_fn.py as the specification tells them."""

    def __init__(self):
        from lingua import IsoCode639_1, Language, LanguageDetectorBuilder

        english, self.detectors = Language.ENGLISH, {}
        for code in SP3F:
            target = Language.from_iso_code_639_1(getattr(IsoCode639_1, code.upper()))
            both = {target, english}
            builder = LanguageDetectorBuilder.from_languages(*both)
            self.detectors[code] = (target, builder.with_preloaded_language_models().build())

    def share(self, text: str, code: str) -> float:
        target, detector = self.detectors[code]
        found = [(each.language, each.word_count) for each in detector.detect_multiple_languages_of(text)]
        words = sum(count for _, count in found)
        return sum(count for language, count in found if language == target) / words if words else 0.0

    def score(self, text: str, gold: str, code: str) -> float:
        from math_verify import parse, verify

        answer = extract_boxed(text) or "None"
        correct = bool(verify(parse(gold), parse(answer)))
        return correct + 1.0 + (self.share(text, code) >= 0.7) + self.share(text, "en") * 0


def milliseconds(function, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return 1000 * (time.process_time() - start)


def start_up() -> bool:
    times = [
        json.loads(subprocess.run([sys.executable, "-c", START], capture_output=True, check=True).stdout) for _ in "123"
    ]
    seconds, before, after = (statistics.median(each) for each in zip(*times, strict=True))
    print(
        f"start of the language model: {seconds:.2f} s (bound {START_SECONDS}), {after - before:.0f} MB more, ", end=""
    )
    print(f"{after:.0f} MB in all (bound {START_MB})")
    return seconds < START_SECONDS and after < START_MB


def each_language() -> bool:
    try:
        start = time.perf_counter()
        original = Original()
        print(f"the original's detectors: {time.perf_counter() - start:.1f} s to build")
    except ImportError:
        original = None
        print("the original's method is left out: pip install 'sp3f-verl[lingua]'")
    texts = {code: response(code) for code in SP3F}
    alone, mixed = each(texts), each({code: halves(text) for code, text in texts.items()})
    print("ms per 3 kB response: " + ", ".join(f"{code} {ms:.1f}" for code, ms in alone.items()))
    bounds = [(statistics.median(alone.values()), MEDIAN_MS), (max(alone.values()), SLOWEST_MS)]
    bounds.append((max(mixed.values()), MIXED_MS))
    for name, (ms, bound) in zip(("median language", "slowest", "slowest of half English"), bounds, strict=True):
        print(f"{name}: {ms:.2f} ms (bound {bound})")
    if original:
        both = {code: in_turn(original, text, code) for code, text in texts.items()}
        print("in turn, ours / the original's: ", end="")
        print(", ".join(f"{code} {one:.1f} / {other:.1f}" for code, (one, other) in both.items()))
        one, other = (sum(each) for each in zip(*both.values(), strict=True))
        print(f"throughput over the languages, ours to the original's: {other / one:.2f}")
    return all(ms < bound for ms, bound in bounds)


def each(texts: dict[str, str]) -> dict[str, float]:
    """Code -> median milliseconds; no text is scored twice."""
    for code, text in texts.items():
        ours(text, code)
    return {
        code: statistics.median(milliseconds(ours, f"{text} {number}", code) for number in range(ROUNDS))
        for code, text in texts.items()
    }


def halves(text: str) -> str:
    return text[: BYTES // 2] + response("en")[: BYTES // 2]


def hostile() -> bool:
    times = {
        (unit, code): milliseconds(ours, (unit * 100_000)[:100_000], code) for unit in UNITS for code in ("sw", "ja")
    }
    worst = max(times, key=times.get)
    print(f"100 kB of anything, slowest of {len(UNITS)}: {worst} {times[worst] / 1000:.2f} s (bound {HOSTILE_SECONDS})")
    return times[worst] < 1000 * HOSTILE_SECONDS


def ours(text: str, code: str) -> dict[str, float]:
    return rule_terms(text, "12", code, others=SP3F)


def in_turn(original: Original, text: str, code: str) -> tuple[float, float]:
    """Medians, each taken while the other runs between: the caches of the machine are then cold for both."""
    pairs = [
        (
            milliseconds(lambda: rule_terms(text, "12", code, others=SP3F)),
            milliseconds(original.score, text, "12", code),
        )
        for _ in range(ROUNDS)
    ]
    return tuple(statistics.median(each) for each in zip(*pairs, strict=True))


def batch(hostile: int) -> list[tuple[str, str]]:
    """1,000 (response, gold): a third needs computer algebra; the first `hostile` never end."""
    endless = [(rf"\boxed{{{k + 7}^{{9^{{9^9}}}}+\pi}}", rf"{k}\pi") for k in range(hostile)]
    fair = [
        (rf"Jadi \boxed{{{k}\sqrt{{3}}+1}}", rf"1+{k}\sqrt{{3}}") if k % 3 == 0 else (rf"\boxed{{{k}}}", f"{k}.0")
        for k in range(2, 1002 - hostile)
    ]
    spread = [pair for at in range(HOSTILE) for pair in (*endless[at : at + 1], *fair[at::HOSTILE])]
    assert len(spread) == 1000
    return spread


async def seconds(pairs: list[tuple[str, str]]) -> tuple[float, list[float]]:
    start = time.perf_counter()
    terms = await asyncio.gather(*(rule_terms_async(text, gold, "id") for text, gold in pairs))
    return time.perf_counter() - start, [each["accuracy"] for each in terms]


def adversarial() -> bool:
    asyncio.run(seconds(batch(0)[:20]))  # the workers are up
    clean, right = asyncio.run(seconds(batch(0)))
    attacked, answers = asyncio.run(seconds(batch(HOSTILE)))
    deadlines = symbolic.DEADLINE_SECONDS * HOSTILE / symbolic.WORKERS
    in_order = all(right) and [text.endswith(r"\pi}") for text, _ in batch(HOSTILE)] == [
        not answer for answer in answers
    ]
    print(f"1,000 responses: {clean:.1f} s; with {HOSTILE} that never end {attacked:.1f} s ", end="")
    print(f"(bound 1.5 x {clean:.1f} + {deadlines:.0f} s of deadlines), in order: {in_order}; {dict(symbolic.counts)}")
    return attacked <= 1.5 * clean + deadlines and in_order


if __name__ == "__main__":
    sys.exit(not all([start_up(), each_language(), hostile(), adversarial()]))
