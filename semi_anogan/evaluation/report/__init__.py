"""The report of a run: its contents, where they come from, figures, pictures and page. No metric is computed
here.
"""
