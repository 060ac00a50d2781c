"""Edits as tools of the Model Context Protocol: files in one folder, tools, the server."""
