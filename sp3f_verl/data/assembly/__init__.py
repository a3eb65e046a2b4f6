"""How `data_prep.sp3f` makes one parquet of translated problems: splits without leaks, and rows of verl."""
