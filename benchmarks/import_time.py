"""What the plugin adds to `import verl`: fresh processes with and without it, in turn, the difference pair by pair.

CPU time of the process around `import verl`, which other work on the machine disturbs less than the clock does; the
first pair warms the disk cache and does not count.
"""

import os
import statistics
import subprocess
import sys

PAIRS = 10
BUDGET_MS = 30
CODE = "import time; start = time.process_time(); import verl; print(time.process_time() - start)"


def seconds(plugins: str) -> float:
    env = {**os.environ, "VERL_USE_EXTERNAL_PLUGINS": plugins}
    result = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    return float(result.stdout.splitlines()[-1])


def main() -> None:
    pairs = [(seconds("auto"), seconds("none")) for _ in range(PAIRS + 1)][1:]
    added = [1000 * (with_plugin - without) for with_plugin, without in pairs]
    base = 1000 * statistics.median(without for _, without in pairs)
    ratio = statistics.median(with_plugin / without for with_plugin, without in pairs)
    print(f"import verl: {base:.0f} ms without the plugin; ratio with/without {ratio:.4f} (median of {PAIRS} pairs)")
    low, high = min(added), max(added)
    median = statistics.median(added)
    print(f"added by the plugin: median {median:+.1f} ms, from {low:+.1f} to {high:+.1f} (budget {BUDGET_MS} ms)")


if __name__ == "__main__":
    main()
