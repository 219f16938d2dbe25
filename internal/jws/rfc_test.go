package jws_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/jws"
)

// The keys and tokens of RFC 7515, appendix A, and RFC 8037, appendix A.
const (
	rfcSecret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	rfcHS256  = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + rfcClaims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcClaims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

	rfcN     = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
	rfcD     = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
	rfcP     = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"
	rfcQ     = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc"
	rfcRS256 = "eyJhbGciOiJSUzI1NiJ9." + rfcClaims + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

	rfcD256  = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
	rfcES256 = "eyJhbGciOiJFUzI1NiJ9." + rfcClaims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	rfcD521  = "AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C"
	rfcES512 = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"

	rfcSeed  = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfcEdDSA = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t *testing.T, s string) *big.Int { return new(big.Int).SetBytes(decoded(t, s)) }

// split returns what of a token is signed, and its signature.
func split(t *testing.T, token string) (signingString string, signature []byte) {
	t.Helper()
	i := strings.LastIndex(token, ".")
	return token[:i], decoded(t, token[i+1:])
}

func rfcEC(t *testing.T, curve elliptic.Curve, d string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(curve, decoded(t, d))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestRFCExamples signs what the RFCs sign, with their keys. Signatures of ECDSA differ
// each time: there the signer returns the RFC's own r and s, and its key signs once more.
func TestRFCExamples(t *testing.T) {
	rsaKey := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: number(t, rfcN), E: 65537},
		D:         number(t, rfcD),
		Primes:    []*big.Int{number(t, rfcP), number(t, rfcQ)},
	}
	rsaKey.Precompute()
	ed := ed25519.NewKeyFromSeed(decoded(t, rfcSeed))
	p256, p521 := rfcEC(t, elliptic.P256(), rfcD256), rfcEC(t, elliptic.P521(), rfcD521)
	for _, c := range []struct {
		name, token string
		signer      crypto.Signer
	}{
		{"RFC 7515, A.1", rfcHS256, nil},
		{"RFC 7515, A.2", rfcRS256, rsaKey},
		{"RFC 7515, A.3", rfcES256, scripted{p256.Public(), rfcDER(t, rfcES256), nil}},
		{"RFC 7515, A.4", rfcES512, scripted{p521.Public(), rfcDER(t, rfcES512), nil}},
		{"RFC 8037, A.4", rfcEdDSA, ed},
	} {
		key, err := jws.NewSecret(string(decoded(t, rfcSecret)), "")
		if c.signer != nil {
			key, err = jws.NewKey(c.signer, "")
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		signingString, want := split(t, c.token)
		if got, err := key.Signature(signingString); err != nil || string(got) != string(want) {
			t.Errorf("%s: %x, %v, want %x", c.name, got, err, want)
		}
	}
	for token, signer := range map[string]*ecdsa.PrivateKey{rfcES256: p256, rfcES512: p521} {
		signingString, _ := split(t, token)
		signature, err := mustKey(t, signer).Signature(signingString)
		method := jwt.SigningMethodES256
		if signer == p521 {
			method = jwt.SigningMethodES512
		}
		if err != nil || method.Verify(signingString, signature, signer.Public()) != nil {
			t.Errorf("signed anew by %s: %v", method.Alg(), err)
		}
	}
}

// rfcDER is the token's signature as a crypto.Signer would return it.
func rfcDER(t *testing.T, token string) []byte {
	_, both := split(t, token)
	half := len(both) / 2
	return der(t, new(big.Int).SetBytes(both[:half]), new(big.Int).SetBytes(both[half:]))
}
