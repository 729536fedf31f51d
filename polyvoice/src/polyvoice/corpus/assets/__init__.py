"""Lists that ship with the package. asterisk_test_ids.txt: prompts of Asterisk that are tested on, never trained on."""
