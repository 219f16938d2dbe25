module github.com/seed-fbfaa0ec/silentrefresh/cmd/tokencurl

go 1.26.0

require (
	github.com/schollz/progressbar/v3 v3.19.1
	github.com/seed-fbfaa0ec/silentrefresh v0.0.0
	github.com/seed-fbfaa0ec/silentrefresh/store/keyring v0.0.0
	github.com/spf13/cobra v1.10.2
	golang.org/x/term v0.48.0
)

require (
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/godbus/dbus/v5 v5.2.2 // indirect
	github.com/gofrs/flock v0.13.1 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/zalando/go-keyring v0.2.8 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/seed-fbfaa0ec/silentrefresh => ../..

replace github.com/seed-fbfaa0ec/silentrefresh/store/keyring => ../../store/keyring
