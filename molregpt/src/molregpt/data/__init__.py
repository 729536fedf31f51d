"""Tables of molecules and descriptions: reading them, the database that ships, and the full ChEBI-20 splits."""
