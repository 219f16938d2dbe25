// Package door is a room of its own.
package door

// Open has a way within the room.
func Open(rooms int) error {
	knock()
	return nil
}

func knock() {}
