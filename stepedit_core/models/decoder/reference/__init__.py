"""The embedded mel decoder, which attends to the mel of a reference recording."""
