"""What is checked and mended of verl's engines, whatever trains on them."""
