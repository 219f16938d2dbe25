module github.com/seed-fbfaa0ec/silentrefresh/store/keyring

go 1.26.0

require (
	github.com/gofrs/flock v0.13.1
	github.com/seed-fbfaa0ec/silentrefresh v0.0.0
	github.com/zalando/go-keyring v0.2.8
)

require (
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/godbus/dbus/v5 v5.2.2 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/seed-fbfaa0ec/silentrefresh => ../..
