"""One writer for each exported format. What is exported stands in export/functions.py."""
