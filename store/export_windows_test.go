package store

import "golang.org/x/sys/windows"

func OwnerOf(sd *windows.SECURITY_DESCRIPTOR, user *windows.SID) (string, error) {
	return ownerOf(sd, user)
}

func OthersOf(sd *windows.SECURITY_DESCRIPTOR, user *windows.SID) (string, error) {
	return othersOf(sd, user)
}
