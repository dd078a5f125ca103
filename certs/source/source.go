// Package source fetches certificates and private keys from where a reference
// of the desired state says they are: https://, files of the host, secret
// stores and buckets of clouds, Vault, variables, and files of the repository
// that are encrypted with age. It fetches bytes, bounded in size and time, and
// says which version they are of. What they mean, whether they are good and
// where they are kept is for others: no certificate is parsed here beyond the
// kinds of its PEM blocks, and nothing is written. A reference is input of
// whoever can write to the repository, so what it may reach is the host's to say.
package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Field is what a reference stands for in a certificate of the desired state.
type Field int

const (
	Chain Field = iota // certificates, which are public
	Key                // a private key
)

func (f Field) String() string {
	if f == Key {
		return "private key"
	}
	return "certificate chain"
}

// Bounds of one fetch.
const (
	// MaxSize is the size that a chain or a key may have; a chain has less
	// than 20 kB.
	MaxSize = 1 << 20
	// DefaultTimeout bounds a whole fetch, with tokens and the second try.
	DefaultTimeout = 20 * time.Second

	maxEnvelope = 2 << 20 // MaxSize in base64 in JSON
	maxHeader   = 32 << 10
	maxVersion  = 512
)

// DefaultFileRoots are the directories that file:// usually reads.
func DefaultFileRoots() []string {
	return []string{"/etc/ssl", "/etc/pki", "/etc/letsencrypt", "/etc/fairlead", "/run/secrets", "/run/credentials"}
}

// Options are what the host permits, and what it has. Everything is optional.
type Options struct {
	// AllowedHosts are the hosts that https:// may ask: pki.acme.com,
	// *.acme.com, pki.acme.com:8443. Empty: any but loopback, on port 443. A
	// link-local or metadata address is never asked, listed or not.
	AllowedHosts []string
	// CAFile is a PEM bundle that is trusted beside the system's. It is read
	// for every fetch.
	CAFile string
	// Proxy is the HTTP proxy for everything but metadata services; the
	// environment's is not used. It resolves names itself, past the check of
	// addresses, so https:// then needs AllowedHosts.
	Proxy string
	// FileRoots are the directories that file:// may read, absolute. Empty: none.
	FileRoots []string
	// DataDir is the daemon's own directory. Its state is never read, whatever
	// FileRoots says.
	DataDir string
	// Secret returns the secret that a bearer token is named by.
	Secret func(ctx context.Context, name string) (string, error)
	// AgeIdentities is the file of identities that age:// decrypts with.
	AgeIdentities string

	Google    Google
	Azure     Azure
	Vault     Vault
	Endpoints Endpoints

	Timeout  time.Duration // of one fetch; 0: DefaultTimeout
	Resolver *net.Resolver // nil: the system's
	Env      func(string) (string, bool)
	Now      func() time.Time
	Log      *logrus.Entry
}

// Google says who asks Google's services. Without a file it is the service
// account of the VM.
type Google struct {
	CredentialsFile string // key of a service account; empty: $GOOGLE_APPLICATION_CREDENTIALS
	Project         string // of sm://NAME; empty: the VM's
}

// Azure says which managed identity of the VM asks.
type Azure struct {
	ClientID string // empty: the system-assigned one, or the only one
}

// Vault says where Vault is and who asks it: a token of a file, or an AppRole.
// The files are read again for every login.
type Vault struct {
	Address      string // https://vault.acme.com:8200; http only on loopback
	Namespace    string
	TokenFile    string
	RoleIDFile   string
	SecretIDFile string
	AppRolePath  string // where the method is mounted; empty: approle
}

// Endpoints are the addresses of the services, for private clouds and tests.
// An empty one is the public one. {region}, {bucket}, {account} and {vault}
// are filled in; S3 without {bucket} is asked with the bucket in the path.
type Endpoints struct {
	GoogleMetadata, GoogleToken, SecretManager, Storage string
	AWSMetadata, STS, S3, SecretsManager                string
	AzureMetadata, AzureBlob, KeyVault                  string
}

// Use says what a reference is used for, and what the desired state says beside it.
type Use struct {
	Field Field
	// CA is a PEM bundle that https:// trusts besides.
	CA []byte
	// Pins are SHA-256 hashes of public keys, sha256/BASE64. One certificate
	// of the verified chain of an https:// server must have one of them.
	Pins []string
	// Bearer names the secret that https:// sends as bearer token. Token is its
	// value; empty: Options.Secret is asked for it.
	Bearer, Token string
	// KeyOverHTTPS lets a private key come by https://, which needs Bearer too.
	KeyOverHTTPS bool
	// Tree are the files of the revision, for age://.
	Tree fs.FS
}

// Version tells two contents of one reference apart. It is opaque, holds
// nothing secret and is worth nothing for another reference.
type Version string

// Blob is what was fetched.
type Blob struct {
	Data        []byte    // nil when NotModified
	Version     Version   // also of what was refused for its content
	NotModified bool      // the bytes are those of the previous Version
	Date        time.Time // by the server's clock; zero when it does not say
	Source      string    // the reference for people: without query
	Warnings    []string  // what works and should not stay so
}

// Fetcher fetches references. It keeps tokens of the services in memory, and is
// safe for concurrent use.
type Fetcher struct {
	opts   Options
	google cache[credential]
	aws    cache[awsCredentials]
	azure  cache[credential]
	vault  cache[credential]
}

// New returns a Fetcher. It reads nothing and asks nobody.
func New(o Options) *Fetcher {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = logrus.NewEntry(quiet)
	}
	o.Endpoints = o.Endpoints.filled()
	return &Fetcher{opts: o}
}

// Fetch fetches a certificate chain. It is For(Use{}).Fetch.
func (f *Fetcher) Fetch(ctx context.Context, ref string, prev Version) (Blob, error) {
	return f.For(Use{}).Fetch(ctx, ref, prev)
}

// For returns the Source of one use.
func (f *Fetcher) For(u Use) Source { return Source{f, u} }

// Source fetches for one use.
type Source struct {
	f   *Fetcher
	use Use
}

// Check says whether a reference may be fetched here, without asking anyone.
func (s Source) Check(ref string) error {
	r, err := Parse(ref)
	if err == nil {
		err = s.permits(r)
	}
	return outer("check", r, err)
}

// Fetch fetches ref. prev is the Version of what is there already; when the
// reference still gives the same bytes, the Blob is NotModified and has no data,
// though its Version may be a newer one.
//
// An error is one of ErrRefused, ErrNotFound, ErrForbidden, ErrUnreachable,
// ErrTooLarge, ErrWrongKind, ErrKeyInChain and ErrFailed; what only another
// revision can mend is reconciler.Terminal, and a service that says when to
// come again gives a reconciler.RetryAfter. With an error the Blob holds what is
// known besides: Source, Date and, when the content was refused, its Version.
func (s Source) Fetch(ctx context.Context, ref string, prev Version) (Blob, error) {
	r, err := Parse(ref)
	if err == nil {
		err = s.permits(r)
	}
	if err != nil {
		return Blob{Source: r.String()}, outer("fetch", r, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.f.opts.Timeout)
	defer cancel()
	tie := s.tie(r)
	j := &job{Fetcher: s.f, ref: r, use: s.use, prev: rawOf(tie, prev)}
	b, err := schemes[r.scheme].fetch(ctx, j)
	b.Source = r.String()
	switch {
	case err != nil:
		b.Data = nil
		return b, outer("fetch", r, err)
	case b.NotModified:
		b.Data, b.Version = nil, prev
		return b, nil
	}
	b.Version = tied(tie, b.Version, b.Data)
	if err := checkContent(s.use.Field, b.Data); err != nil {
		b.Data = nil
		return b, outer("fetch", r, err)
	}
	if sameBytes(b.Version, prev) {
		b.Data, b.NotModified = nil, true
	}
	for _, w := range b.Warnings {
		s.f.opts.Log.WithField("source", b.Source).Debug(w)
	}
	return b, nil
}

// job is one fetch.
type job struct {
	*Fetcher
	ref  Ref
	use  Use
	prev string // the version of before as the service knows it; empty: none
}

// tie is what a version begins with, so that version 3 of one secret is not
// taken for version 3 of another.
func (s Source) tie(r Ref) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", s.use.Field, r.text))
	return hex.EncodeToString(sum[:6])
}

// tied is a whole version: that of the service counts, and so do the bytes,
// since a store that was made anew counts from 1 again.
func tied(tie string, raw Version, data []byte) Version {
	sum := sha256.Sum256(data)
	if len(raw) > maxVersion {
		raw = ""
	}
	return Version(tie + "." + hex.EncodeToString(sum[:12]) + "." + string(raw))
}

// sameBytes reports whether both are of one reference and of the same bytes.
func sameBytes(a, b Version) bool {
	const end = 12 + 1 + 24
	return len(a) > end && len(b) > end && a[:end] == b[:end]
}

// rawOf is a version as the service knows it; empty: it is of something else.
func rawOf(tie string, v Version) string {
	parts := strings.SplitN(string(v), ".", 3)
	if len(parts) != 3 || parts[0] != tie {
		return ""
	}
	return parts[2]
}
