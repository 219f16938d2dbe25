package login_test

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
)

// TestMain fails the run if a goroutine is left when all logins are over.
func TestMain(m *testing.M) { sessiontest.Main(m) }
