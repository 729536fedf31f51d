"""Published corpora to pair manifests, one file each; audio stays where it is and as it is."""
