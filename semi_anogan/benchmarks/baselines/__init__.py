"""What the method is compared with, on the same images. Nothing here is part of the method."""
