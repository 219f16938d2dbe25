package keyring

import "io/fs"

const openFlags = 0

// checkOwner has nothing to check: the access list of the folder decides.
func checkOwner(string, fs.FileInfo) error { return nil }
