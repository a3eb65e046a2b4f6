"""Is an answer right: one written form, exact numbers, outlines, and computer algebra last."""
