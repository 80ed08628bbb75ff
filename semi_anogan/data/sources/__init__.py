"""One file for each source of images. What all sources share lies above; nothing here knows how images are
used.
"""
