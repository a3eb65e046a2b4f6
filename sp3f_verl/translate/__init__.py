"""English text into any language of the table: protected, verified, chosen among candidates, and repaired."""
