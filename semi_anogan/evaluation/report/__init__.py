"""The report of a run: its contents, how they are gathered, pictures, figures and page."""
