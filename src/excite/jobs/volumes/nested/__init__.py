"""Small heads chosen in inner folds on frozen features, and tested in outer ones."""
