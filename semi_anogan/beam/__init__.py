"""Scoring with Apache Beam, on one machine or on many."""
