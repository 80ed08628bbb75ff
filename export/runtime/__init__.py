"""Runs a bundle with numpy, Pillow and one engine; imports no TensorFlow, Keras or JAX."""

from semi_anogan.export.runtime.bundle import Bundle, BundleError, products_of
from semi_anogan.export.runtime.detector import EdgeDetection, EdgeDetector

__all__ = ["Bundle", "BundleError", "EdgeDetection", "EdgeDetector", "products_of"]
