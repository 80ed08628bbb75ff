"""What the method is compared with, on the same images. Nothing here is part of the method.

classical holds what needs no network and networks what does; comparison runs both and keeps the figures.
"""
