"""verl on a machine without an accelerator: a platform, and the patches without which it does not run.

Every patch acts only when verl's platform is `cpu`, so a GPU run never sees one.
"""
