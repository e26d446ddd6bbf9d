"""Data sets in container files: RecordIO files, packs of face pairs, Arrow tables, tar shards. They are read
in place, and nothing in a file is executed."""
