//go:build !unix

package processes_test

import "errors"

var systemOrders orders

func becomeUser(int) error { return errors.ErrUnsupported }
