"""Functions and models in the form that other people's tools ask for; a module for each tool."""
