"""What the method is compared with, on the same images. Nothing here is part of the method.

classical and subspace hold what needs no network, networks and alocc what does; comparison runs all of them
and keeps the figures.
"""
