"""`vllm serve` where only the CPU wheel is installed: it is not called `vllm`, which the plugin mends in time."""

import sys

import sp3f_verl.plugin  # noqa: F401

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.argv[1:] = ["serve", *sys.argv[1:]]
    main()
