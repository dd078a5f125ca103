package pair

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Candidate is what a source gave: two documents in PEM. The key is the one of
// this host where the source has none.
type Candidate struct {
	Chain   []byte
	Privkey []byte
}

// Format keeps the documents out of whatever prints the candidate.
func (c Candidate) Format(w fmt.State, _ rune) { _, _ = fmt.Fprintf(w, "candidate %s", c.Hash()) }

// Hash names a candidate, so that one that was refused is not tried again. It is
// a digest of both documents.
func (c Candidate) Hash() string {
	chain, key := sha256.Sum256(c.Chain), sha256.Sum256(c.Privkey)
	sum := sha256.Sum256(slices.Concat([]byte("candidate"), chain[:], key[:]))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Rules are what a candidate is held against.
type Rules struct {
	Domains []string       // each must be covered; see Domains
	Now     time.Time      // the time of the check
	Roots   *x509.CertPool // the system's and private ones (see Roots); nil: none is trusted
	// MinRemaining is how much of its life must be left. Of a life of less than
	// ten times that, a tenth counts.
	MinRemaining time.Duration
	Live         Pair // what is served now; the zero Pair: nothing
	Force        bool // takes a certificate that is older than the live one
}

// Verdict is what came of a check.
type Verdict struct {
	Pair     Pair      // in order, without root; the zero Pair with some problems
	Problems Problems  // all reasons to refuse it; none: it may be served
	Notes    Problems  // what was repaired or is worth knowing
	Staged   time.Time // not before then may it be served; zero: at once
}

// OK reports whether the pair may be served, at once or once it is no longer
// staged.
func (v Verdict) OK() bool { return len(v.Problems) == 0 }

// Err is the problems as an error; nil when there is none.
func (v Verdict) Err() error {
	if v.OK() {
		return nil
	}
	return v.Problems
}

// check is one check at work.
type check struct {
	rules Rules
	Verdict
}

func (c *check) refuse(code Code, found, expected, hint string) {
	c.Problems = append(c.Problems, &Problem{code, found, expected, hint})
}

func (c *check) note(code Code, found, hint string) {
	c.Notes = append(c.Notes, &Problem{Code: code, Found: found, Hint: hint})
}

// Check says whether a candidate may be served, and makes a pair of it. It finds
// all problems at once.
func Check(cand Candidate, rules Rules) Verdict {
	c := &check{rules: rules}
	domains, err := Domains(rules.Domains)
	if err != nil {
		c.refuse(NamesMissing, err.Error(), "domains that a certificate can be for", "mend the domains of the certificate")
	}
	key := c.parseKey(cand.Privkey)
	certs := c.parseChain(cand.Chain)
	if len(certs) == 0 {
		return c.Verdict
	}
	unique := dedupe(certs)
	leaf, own := leafOf(unique, key, domains, rules.Now)
	if key != nil && !own {
		c.refuse(KeyMismatch, "the certificate is for the key "+SPKI(leaf.PublicKey), "the key "+SPKI(key.Public()),
			"the CA signed another request, or the source holds another server's chain: send the CA the request of this host")
	}
	c.leaf(leaf, domains)
	chain := c.chain(leaf, unique)
	c.arranged(certs, chain)
	c.against(chain[0])
	if key != nil && own {
		c.Pair = Pair{chain, hold(key), IsSelfSigned(chain[0])}
	}
	return c.Verdict
}

func (c *check) parseKey(data []byte) crypto.Signer {
	key, err := ParseKey(data)
	if err != nil {
		c.refuse(BadKey, "the key's document cannot be used: "+err.Error(), "one private key in PEM, not encrypted", "")
		return nil
	}
	if weak := weakKey(key.Public()); weak != "" {
		c.refuse(WeakKey, "the private key is "+weak, wantedKey, "make a new key and have it certified")
	}
	return key
}

const wantedKey = "RSA with 2048 to 8192 bits, or P-256 or larger"

func (c *check) parseChain(data []byte) []*x509.Certificate {
	certs, err := ParseChain(data)
	var leak *LeakedKeyError
	switch {
	case errors.As(err, &leak):
		c.refuse(KeyInChain, leak.Error(), "", "")
	case err != nil:
		c.refuse(BadChain, "the chain's document cannot be used: "+err.Error(), "certificates in PEM and nothing else", "look at what the source holds")
	}
	return certs
}

// leaf checks the certificate for itself.
func (c *check) leaf(leaf *x509.Certificate, domains []string) {
	if absent := missing(leaf, domains); len(absent) > 0 {
		hint := "have it certified for all of them"
		if len(namesOf(leaf)) == 0 {
			hint = "it has no subject alternative names, and clients ignore its common name: " + hint
		}
		c.refuse(NamesMissing, "the certificate is for "+listed(namesOf(leaf)), "also "+listed(absent), hint)
	}
	c.times(leaf)
	c.usage(leaf)
	if leaf.IsCA {
		c.refuse(LeafIsCA, "the certificate is one of a CA (CA:TRUE)", "a server's (CA:FALSE)", "strict clients refuse it: have it certified as a server's")
	}
	if IsSelfSigned(leaf) {
		c.refuse(OwnSelfSigned, "it is the self-signed certificate that this program makes until there is a real one", "one of a CA",
			"put the chain that the CA sent at the source")
	}
	if AlgorithmOf(leaf.PublicKey) == Ed25519 {
		c.note(RareKey, "the key is Ed25519", "no browser accepts it")
	}
}

// times checks life and what is left of it.
func (c *check) times(leaf *x509.Certificate) {
	from, until, now := leaf.NotBefore, leaf.NotAfter, c.rules.Now
	life := until.Sub(from)
	least := min(c.rules.MinRemaining, life/10)
	switch left := until.Sub(now); {
	case life <= 0:
		c.refuse(BadLifetime, fmt.Sprintf("the certificate is valid from %s to %s", stamp(from), stamp(until)), "an end after the beginning", "have it issued again")
	case left <= 0:
		c.refuse(Expired, "the certificate expired on "+stamp(until), "one that is valid now, "+stamp(now),
			"have it renewed; if it is, look at this host's clock and at what the source holds")
	case now.Before(from):
		c.Staged = from
		c.note(NotYetValid, fmt.Sprintf("the certificate is valid from %s on, in %s", stamp(from), from.Sub(now).Round(time.Second)), "it is served from then on")
	case left < least && c.liveLasts(until):
		c.refuse(TooLittleLeft, fmt.Sprintf("the certificate expires in %s, on %s", left.Round(time.Second), stamp(until)),
			"at least "+least.String(), "have it renewed; what is served now lasts as long")
	case left < least:
		c.note(ExpiresSoon, fmt.Sprintf("the certificate expires in %s, on %s", left.Round(time.Second), stamp(until)), "have it renewed")
	}
}

// liveLasts reports whether a real certificate is live that is good for as long.
func (c *check) liveLasts(until time.Time) bool {
	live := c.rules.Live
	return !live.IsZero() && !live.SelfSigned() && live.ValidAt(c.rules.Now) && !live.Leaf().NotAfter.Before(until)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// usage checks what the certificate may be used for.
func (c *check) usage(leaf *x509.Certificate) {
	eku := leaf.ExtKeyUsage
	switch {
	case len(eku) == 0 && len(leaf.UnknownExtKeyUsage) == 0:
		c.note(NoUsage, "the certificate has no extended key usage", "some clients, Apple's for one, refuse it: have it certified for serverAuth")
	case !slices.Contains(eku, x509.ExtKeyUsageServerAuth) && !slices.Contains(eku, x509.ExtKeyUsageAny):
		c.refuse(WrongUsage, "the certificate is not for servers: its extended key usage lacks serverAuth", "serverAuth", "have it certified as a server's")
	}
	// Every suite of today signs with the key (RFC 8446, section 4.4.2.2).
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		c.refuse(WrongUsage, "the certificate's key usage lacks digitalSignature", "digitalSignature", "have it certified as a server's")
	}
}

// chain puts the chain in order and verifies it.
func (c *check) chain(leaf *x509.Certificate, certs []*x509.Certificate) []*x509.Certificate {
	at := c.rules.Now
	if at.Before(leaf.NotBefore) { // what is staged must be good when its time comes
		at = leaf.NotBefore
	} else if at.After(leaf.NotAfter) { // that it is over is said already
		at = leaf.NotAfter
	}
	all := paths(leaf, certs)
	chosen, err := all[0], error(nil)
	for i, path := range all {
		verr := verifyChain(path, c.rules.Roots, at)
		if verr == nil || i == 0 {
			chosen, err = path, verr
		}
		if verr == nil {
			break
		}
	}
	weak := c.weak(chosen)
	if err != nil && !weak && !c.Problems.Has(OwnSelfSigned) { // whose cause is named already
		c.untrusted(chosen, err)
	}
	return chosen
}

// weak refuses weak keys and signatures.
func (c *check) weak(chain []*x509.Certificate) (found bool) {
	for i, x := range chain {
		who := "the certificate"
		if i > 0 {
			who = fmt.Sprintf("the CA certificate %.120q", x.Subject.String())
		}
		if weak := weakKey(x.PublicKey); weak != "" {
			found = true
			c.refuse(WeakKey, fmt.Sprintf("the key of %s is %s", who, weak), wantedKey, "have it certified anew")
		}
		if weakSignature(x) {
			found = true
			c.refuse(WeakSignature, fmt.Sprintf("%s is signed with %s", who, x.SignatureAlgorithm), "SHA-256 or better", "clients refuse it: have it issued again")
		}
	}
	return found
}

// untrusted says why a client would not follow the chain.
func (c *check) untrusted(chain []*x509.Certificate, err error) {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		top     = chain[len(chain)-1]
	)
	noCA := slices.IndexFunc(chain[1:], func(x *x509.Certificate) bool { return !x.IsCA })
	switch {
	case errors.As(err, &invalid) && invalid.Cert == chain[0] && invalid.Reason == x509.Expired: // is said already
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage && c.Problems.Has(WrongUsage): // as well
	case noCA >= 0:
		c.refuse(ChainInvalid, fmt.Sprintf("%.120q signed the certificate below it, and is no CA", chain[1+noCA].Subject.String()), "CA:TRUE", "ask the CA for its present chain")
	case errors.As(err, &unknown) && len(chain) == 1 && selfIssued(top):
		c.refuse(ChainIncomplete, "the certificate is self-signed and not among the trusted roots", "one of a CA", "put the chain that the CA sent at the source")
	case errors.As(err, &unknown):
		c.refuse(ChainIncomplete, fmt.Sprintf("the chain ends with %.120q, whose issuer %.120q is neither in the document nor trusted", top.Subject.String(), top.Issuer.String()),
			"leaf and intermediates up to a trusted root", "add the missing intermediate to the document, or the CA's root to the trusted ones")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c.refuse(ChainExpired, fmt.Sprintf("the CA certificate %.120q is valid from %s to %s only", invalid.Cert.Subject.String(),
			stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter)), "CA certificates that are valid as well", "ask the CA for its present chain")
	default:
		c.refuse(ChainInvalid, "clients would refuse the chain: "+strings.TrimPrefix(err.Error(), "x509: "), "", "ask the CA for its present chain")
	}
}

// arranged notes what was repaired.
func (c *check) arranged(given, chain []*x509.Certificate) {
	rank := map[string]int{}
	for i, x := range chain {
		rank[string(x.Raw)] = i + 1
	}
	last, inOrder, roots, extra := 0, true, 0, 0
	for i, x := range given {
		r := rank[string(x.Raw)]
		delete(rank, string(x.Raw)) // the second of two is an extra
		switch {
		case r > 0:
			inOrder = inOrder && r == last+1
			last = r
		case selfIssued(x) && !slices.ContainsFunc(given[:i], x.Equal):
			roots++
		default:
			extra++
		}
	}
	if !inOrder {
		c.note(Reordered, "the chain was not in order", "it is served leaf first")
	}
	if roots > 0 {
		c.note(RootDropped, "the document holds a root", "it is not served")
	}
	if extra > 0 {
		c.note(ExtraDropped, fmt.Sprintf("%d certificates of the document are not of this chain or stand twice", extra), "they are not served")
	}
}

// against compares with what is live.
func (c *check) against(leaf *x509.Certificate) {
	if c.rules.Live.IsZero() || c.rules.Live.SelfSigned() {
		return
	}
	live := c.rules.Live.Leaf()
	if leaf.NotBefore.Before(live.NotBefore) {
		found := fmt.Sprintf("the certificate was issued before the live one: it is valid from %s on", stamp(leaf.NotBefore))
		// Against one that is over, whatever is valid is better.
		if c.rules.Force || c.rules.Now.After(live.NotAfter) {
			c.note(OlderAccepted, found, "")
		} else {
			c.refuse(OlderThanLive, found, "from "+stamp(live.NotBefore)+" on or later", "the source went back: look at what it holds, or force it")
		}
	}
	if !bytes.Equal(leaf.RawIssuer, live.RawIssuer) {
		c.note(IssuerChanged, fmt.Sprintf("the issuer is %.120q, that of the live certificate %.120q", leaf.Issuer.String(), live.Issuer.String()), "")
	}
}

func dedupe(certs []*x509.Certificate) (out []*x509.Certificate) {
	for _, c := range certs {
		if !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}
