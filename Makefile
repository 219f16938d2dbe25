# The tasks of CONTRIBUTING.md. Each is one command that can be typed as well.
.PHONY: all lint tidy licences consumer platforms api test short race examples fuzz targets vuln newest fresh mutation simulation chaos bench house release

all: # what must pass before a change lands
	.ci/run

lint tidy licences consumer platforms api test race examples fuzz targets vuln newest fresh mutation: # one step of it, or another
	.ci/run $@

short: # a tenth of the kills and of the large numbers
	go test -short work

simulation: # of the stores' engine; says what was done to it
	go test ./internal/protocol -run 'TestSimulation$$' -v

chaos: # real processes, killed and cut off for five minutes an engine; before a release
	go test ./internal/interop/fleet -v -run Chaos -chaos 5m

bench: # a few minutes; draws the charts of docs/benchmarks.md and prints its tables
	go run ./internal/bench -charts docs/charts

house: # how the packages are built, and how far a request goes through them
	go run ./internal/house -way tokenclient.Transport.RoundTrip

release: # says what releasing VERSION would do; CONTRIBUTING.md has the rest
	go run ./internal/release $(VERSION)
