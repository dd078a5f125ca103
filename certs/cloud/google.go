package cloud

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"time"
)

// Account is a service account of Google's, as the file of its key has it.
type Account struct {
	Email    string
	Project  string
	TokenURI string // the service that it was made for, or empty

	id  string
	key *rsa.PrivateKey
}

// ReadAccount reads the file of a key. The error says what is wrong with it, and
// quotes nothing of it.
func ReadAccount(text []byte) (*Account, error) {
	var file struct {
		Type     string `json:"type"`
		Email    string `json:"client_email"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		TokenURI string `json:"token_uri"`
		Project  string `json:"project_id"`
	}
	if json.Unmarshal(text, &file) != nil || file.Type != "service_account" {
		return nil, errors.New("is not the key of a service account, the only kind of Google's credentials that is read")
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return nil, errors.New("holds no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("holds a private key that does not parse")
	}
	return &Account{Email: file.Email, Project: file.Project, TokenURI: file.TokenURI, id: file.KeyID, key: signer}, nil
}

// Claim is what a token service gives a token for a scope for (RFC 7523). It is a
// secret for an hour.
func (a *Account) Claim(scope, audience string, now time.Time) (url.Values, error) {
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": a.id})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"iss": a.Email, "scope": scope, "aud": audience, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	if err != nil {
		return nil, err
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := enc(head) + "." + enc(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return nil, err
	}
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text + "." + enc(signature)}}, nil
}
