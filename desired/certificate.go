package desired

import (
	"io/fs"
	"time"
)

// CertificateSpec is one certificate: whose it is, where it comes from and who
// gets it. With neither Fullchain nor ACME it is self-signed for good.
type CertificateSpec struct {
	Domains []string `json:"domains"`
	// Fullchain and Privkey are references of package certs/source. Without
	// Privkey the key is made on this host and never leaves it.
	Fullchain string `json:"fullchain,omitempty"`
	Privkey   string `json:"privkey,omitempty"`
	// Subject is what the signing request asks for, Key the kind of key that is
	// made here: rsa2048 where a request is written, p256 elsewhere.
	Subject string `json:"subject,omitempty"`
	Key     string `json:"key,omitempty"`
	// Every is how often the references are asked.
	Every time.Duration `json:"every,omitempty"`
	// Fallback "self-signed" has one of that kind served until the real one is
	// there, and never again after that.
	Fallback string `json:"fallback,omitempty"`

	// CA are PEM certificates that are trusted beside those of the system and
	// of the host: as roots of the chain, for https references, and for ACME
	// directories.
	CA string `json:"ca,omitempty"`
	// Pins are public keys that an https server may have, as sha256/BASE64.
	Pins []string `json:"pins,omitempty"`
	// Bearer names the secret that https references are asked with, BearerToken
	// is its value on this host. KeyOverHTTPS lets Privkey be one of those.
	Bearer       string `json:"bearer,omitempty"`
	BearerToken  string `json:"bearer_token,omitempty"` // a secret
	KeyOverHTTPS bool   `json:"key_over_https,omitempty"`
	// Encrypted are the files of the repository that age:// references name, by
	// path, as they are in the repository.
	Encrypted map[string][]byte `json:"encrypted,omitempty"`

	ACME    *ACMESpec  `json:"acme,omitempty"`
	Deliver []Delivery `json:"deliver,omitempty"`
	Reload  []Reloader `json:"reload,omitempty"`
	// Keep is how many pairs are kept beside the one that is live.
	Keep int `json:"keep,omitempty"`
}

// Hash identifies what is asked for. It holds nothing secret.
func (c CertificateSpec) Hash() string { return hashJSON(c) }

// ACMESpec says how a certificate is obtained by ACME.
type ACMESpec struct {
	Issuers    []ACMEIssuer `json:"issuers"`              // tried in this order
	Challenges []string     `json:"challenges,omitempty"` // empty: http-01 and tls-alpn-01, or dns-01 with DNS
	DNS        *ACMEDNS     `json:"dns,omitempty"`
}

// ACMEIssuer is an account at an ACME directory.
type ACMEIssuer struct {
	Directory string `json:"directory"`
	Email     string `json:"email,omitempty"`
	Profile   string `json:"profile,omitempty"`
	// EABKeyID and EABKey bind the account to a customer known otherwise.
	EABKeyID string `json:"eab_key_id,omitempty"`
	EABKey   string `json:"eab_key,omitempty"` // a secret
	// PreferRoot chooses among chains by the common name of their root.
	PreferRoot string `json:"prefer_root,omitempty"`
}

// ACMEDNS says how records are set for dns-01.
type ACMEDNS struct {
	Provider  string            `json:"provider"`
	With      map[string]string `json:"with,omitempty"` // the provider's settings, secrets among them
	Resolvers []string          `json:"resolvers,omitempty"`
	Delegate  string            `json:"delegate,omitempty"`
	TTL       time.Duration     `json:"ttl,omitempty"`
	Delay     time.Duration     `json:"delay,omitempty"`
	Timeout   time.Duration     `json:"timeout,omitempty"`
}

// Delivery is a directory of the host that a pair is written to for another
// server. UID and GID are those of the files; nil: the daemon's.
type Delivery struct {
	Dir      string      `json:"dir"`
	UID      *int        `json:"uid,omitempty"`
	GID      *int        `json:"gid,omitempty"`
	Mode     fs.FileMode `json:"mode,omitempty"`     // of files with the key; 0: 0600
	Formats  []string    `json:"formats,omitempty"`  // pem, combined, p12; none: pem
	Password string      `json:"password,omitempty"` // of the PKCS #12 file; a secret
}

// Reloader is another server that is told when the pair changed, and asked
// whether it serves it.
type Reloader struct {
	Service string `json:"service,omitempty"` // of the instance
	Signal  string `json:"signal,omitempty"`  // sent to the containers of Service
	// Caddy is the address of a Caddy's admin API, which is told instead.
	Caddy string `json:"caddy,omitempty"`
	// Prove is where a handshake shows what is served, HOST:PORT, or :PORT of
	// the containers of Service; empty is :443 of them. Within is how long it
	// may take to change.
	Prove  string        `json:"prove,omitempty"`
	Within time.Duration `json:"within,omitempty"`
}
