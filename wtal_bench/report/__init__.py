"""Runs -> pictures. No torch: a picture is drawn from what a trained model says of videos, as numpy.

The one room, with the evaluators, in which temporal annotations meet a model's outputs: shown to a reader, never to
training.
"""
