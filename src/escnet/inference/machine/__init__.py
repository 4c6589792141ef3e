"""Devices, CPU threads, and the memory that a process used."""
