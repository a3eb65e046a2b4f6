"""Tasks of other people's harnesses, run by the harnesses themselves: lm-evaluation-harness and EuroEval.

They pin what verl pins otherwise (antlr4, scikit-learn, Python itself), so a harness is a process of its own, in
whichever Python has it (`runners/`).
"""
