package jws

// Signature signs what stands before the last dot of a JWS: an RFC's example has its own
// spaces in its JSON.
func (k *Key) Signature(signingString string) ([]byte, error) {
	return k.method.Sign(signingString, k.key)
}
