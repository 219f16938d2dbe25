//go:build !linux

package filewatch

import (
	"errors"
	"fmt"
	"iter"
	"os"
)

// Supported reports whether this system tells.
const Supported = false

// Touch is for systems that tell.
func Touch(string) error { return fmt.Errorf("filewatch: %w", errors.ErrUnsupported) }

func open(string) (*os.File, error) { return nil, fmt.Errorf("filewatch: %w", errors.ErrUnsupported) }

func read(*os.File) iter.Seq[string] { return func(func(string) bool) {} }
