package store

// CreateKeyFile is LoadOrCreateKeyFile's creation with another os.Link.
var CreateKeyFile = createKeyFile
