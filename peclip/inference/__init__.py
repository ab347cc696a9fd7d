"""Answers that a person can read: which expression a video shows, when and on whose face."""
