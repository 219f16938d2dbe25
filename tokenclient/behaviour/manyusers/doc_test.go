// Package manyusers_test holds what package tokenclient promises to a Pool of a hundred
// thousand or a million users, as tests that see no more of it than a user does. They are by
// themselves because they take longer than all others of tokenclient together, and a busy
// machine has to do with each package in the time that go test gives it.
package manyusers_test
