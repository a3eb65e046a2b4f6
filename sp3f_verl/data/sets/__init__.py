"""Public data sets in their own files: MGSM and GSM8K, WMT24++, open-ended prompt sets."""
