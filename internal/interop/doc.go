// Package interop tests the core's stores against real databases, through the
// drivers that programs use and the core must not require. Its examples are complete
// programs to start from.
package interop
