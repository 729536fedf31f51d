"""From a recording to its translation: cut, encode, translate, time, synthesise, decode, join."""
