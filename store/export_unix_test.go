//go:build unix

package store

// CheckOwnerFor is the check of an owner in a process of the user uid.
var CheckOwnerFor = checkOwnerFor
