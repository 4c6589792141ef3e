"""Many pictures: from their files to the files of their results."""
