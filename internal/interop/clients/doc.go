// Package clients tests the library with clients of other people, which the core must not
// require: gRPC, the SDK of the Model Context Protocol, client-go of Kubernetes, and those of the
// table in docs/clients.md. Its examples are what a program would copy.
package clients
