module github.com/seed-fbfaa0ec/silentrefresh

go 1.26.0

require (
	github.com/gofrs/flock v0.13.1
	github.com/golang-jwt/jwt/v5 v5.3.1
	golang.org/x/crypto v0.58.0
	golang.org/x/oauth2 v0.37.0
	golang.org/x/sync v0.24.0
)

require golang.org/x/sys v0.49.0
