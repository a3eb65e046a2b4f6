"""What the plugin adds to `import verl`: in each of some fresh processes, verl is imported without plugins and then the
entry point is loaded as verl would load it. Both are timed side by side, so other work on the machine hits both.
"""

import json
import os
import statistics
import subprocess
import sys

PROCESSES = 10
BUDGET_MS = 30
CODE = """
import json, time
start = time.perf_counter()
import verl
between = time.perf_counter()
from importlib.metadata import entry_points
for each in entry_points(group="verl.plugins", name="sp3f_verl"):
    each.load()
print(json.dumps([1000 * (between - start), 1000 * (time.perf_counter() - between)]))
"""


def main() -> None:
    env = {**os.environ, "VERL_USE_EXTERNAL_PLUGINS": "none"}
    times = []
    for _ in range(PROCESSES + 1):
        result = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
        times.append(json.loads(result.stdout.splitlines()[-1]))
    verl, plugin = zip(*times[1:], strict=True)  # the first process warms the disk cache
    ratio = statistics.median(added / base for base, added in times[1:])
    base, added = statistics.median(verl), statistics.median(plugin)
    print(f"import verl {base:.0f} ms; the plugin adds {added:.1f} ms in the median of {PROCESSES} processes,")
    print(f"{max(plugin):.1f} at most (budget {BUDGET_MS}); ratio {ratio:.4f}")
    sys.exit(added > BUDGET_MS)


if __name__ == "__main__":
    main()
