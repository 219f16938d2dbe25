//go:build unix

package store

// CheckOwnerFor is the check of an owner in a process of the user uid.
var CheckOwnerFor = checkOwnerFor

// SyncOpenDir syncs a folder, if its file system can.
var SyncOpenDir = syncOpenDir
