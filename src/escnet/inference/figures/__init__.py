"""Sheets for people: how a class was found, and what several models say."""
