"""`sp3f judge-check`: pairs of which the better one is known, and what a judge's answers to them measure."""
