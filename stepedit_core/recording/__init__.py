"""Long recordings: heard, timed, cut in pieces, edited, joined; subtitles and labels in and out."""
