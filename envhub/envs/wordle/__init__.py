"""Wordle: find a hidden word of five letters in six tries, by LMRL-Gym's rules or the newspaper's."""
