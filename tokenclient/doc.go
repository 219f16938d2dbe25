// Package tokenclient attaches access tokens to HTTP requests and refreshes them.
package tokenclient
