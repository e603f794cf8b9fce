"""Defenses against joint attacks: trainings of classifiers and maskers, and maps with a certificate."""
