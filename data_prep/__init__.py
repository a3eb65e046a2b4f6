"""Data steps, one a file: `python -m data_prep.<step> --help`. Each writes parquet and a manifest.json."""
