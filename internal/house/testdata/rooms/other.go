//go:build plan9

package rooms
