"""The phone reader: which linguistic codes are said in which phone."""
