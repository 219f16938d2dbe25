package clientauth

import (
	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// NoClient sends nothing, not even a client id. It is for grants in which no client has a
// part beside whoever is named by what is exchanged: JWT bearer assertions, such as those
// of service accounts (RFC 7523, sections 2.1 and 3.1). With any other grant most servers
// refuse it.
//
// It is not what the server calls "none": that is [tokenclient.PublicClient], which names
// the client.
func NoClient() tokenclient.ClientAuth {
	return proof.Nobody("NoClient")
}
