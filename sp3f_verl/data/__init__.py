"""Rows and the folders that they are written into: what every step of `data_prep` and every reader of data stands on.

schemas, rows, preference_rows, prompts   what a row is, whatever layout it came in; ids
check, preference_report                  is a file what training needs, and what does a preference set teach
tables                                    parquet and JSON lines in batches, in order
output, manifest, resume, files           a step's folder: whole or not there, done before or resumed
assembly, candidate_files                 what `data_prep.sp3f` and `data_prep.croco` make their files from
sets, hub                                 public data sets in their own files
layouts                                   rows of other projects, in and out
"""
