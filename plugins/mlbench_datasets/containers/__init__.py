"""Data sets in containers: RecordIO files, packs of face pairs, Arrow tables, tar shards. Nothing is
unpacked, and nothing in a file is ever executed."""
