"""Measurements of timed words: aligners, carried times, speakers, cuts."""
