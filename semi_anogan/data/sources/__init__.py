"""The sources of images, one file each (surface in three); nothing here knows how images are used."""
