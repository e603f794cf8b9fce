"""The tables and figures of [ADV2] and [EDGE], made anew on the user's own classifiers and data.

``papers/`` holds what each paper shows, needs and claims, and its published numbers, as data.
"""
