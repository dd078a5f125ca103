package pair

import (
	"fmt"
	"strings"
)

// Code names a kind of problem or note. It is stable: events and metrics carry
// it.
type Code string

// The problems, each of which refuses a candidate.
const (
	KeyInChain      Code = "KeyInChain"      // a private key where only certificates belong: an alarm
	BadChain        Code = "BadChain"        // the document is no chain of certificates
	BadKey          Code = "BadKey"          // the document is no private key that can be used
	KeyMismatch     Code = "KeyMismatch"     // no certificate is for the key
	NamesMissing    Code = "NamesMissing"    // a wanted domain is not in the certificate
	Expired         Code = "Expired"         // of the certificate itself
	TooLittleLeft   Code = "TooLittleLeft"   // of its life, and what is live lasts longer
	BadLifetime     Code = "BadLifetime"     // it ends before it begins
	WeakKey         Code = "WeakKey"         // of the certificate or of one above it
	WeakSignature   Code = "WeakSignature"   // MD5 or SHA-1
	LeafIsCA        Code = "LeafIsCA"        // strict clients refuse it, and its key could sign others
	WrongUsage      Code = "WrongUsage"      // it is not for servers
	OwnSelfSigned   Code = "OwnSelfSigned"   // our own stand-in came back as the real one
	ChainIncomplete Code = "ChainIncomplete" // an issuer is missing or not trusted
	ChainExpired    Code = "ChainExpired"    // of a certificate above
	ChainInvalid    Code = "ChainInvalid"    // anything else that a client would refuse
	OlderThanLive   Code = "OlderThanLive"
)

// The notes, which refuse nothing.
const (
	Reordered     Code = "Reordered"     // the chain was not leaf first
	RootDropped   Code = "RootDropped"   // clients have it or do not trust it anyway
	ExtraDropped  Code = "ExtraDropped"  // certificates that belong to another chain, or stand twice
	IssuerChanged Code = "IssuerChanged" // against the live one
	NotYetValid   Code = "NotYetValid"   // it is staged until then
	ExpiresSoon   Code = "ExpiresSoon"   // little is left, but nothing better is live
	NoUsage       Code = "NoUsage"       // no extended key usage: Apple's clients refuse it
	RareKey       Code = "RareKey"       // a kind of key that no browser accepts
	OlderAccepted Code = "OlderAccepted" // older than the live one, which is over, or forced
)

// Problem is one reason why a candidate is refused, or one note about it: what
// was found, what was expected, and what to do.
type Problem struct {
	Code     Code   `json:"code"`
	Found    string `json:"found"`
	Expected string `json:"expected,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

func (p *Problem) Error() string {
	s := p.Found
	if p.Expected != "" {
		s += "; expected " + p.Expected
	}
	if p.Hint != "" {
		s += ": " + p.Hint
	}
	return s
}

// Alarm reports whether someone must be told at once: a private key has left
// its place.
func (p *Problem) Alarm() bool { return p.Code == KeyInChain }

// Problems are all that is wrong with a candidate.
type Problems []*Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "; ")
}

// Unwrap lets errors.As find a Problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Has reports whether a problem of that kind is among them.
func (ps Problems) Has(c Code) bool {
	for _, p := range ps {
		if p.Code == c {
			return true
		}
	}
	return false
}

// LeakedKeyError says that a document which others may read holds a private
// key. It carries no byte of it.
type LeakedKeyError struct {
	Line int // from 1; 0 where the document has no lines
}

func (e *LeakedKeyError) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf("line %d: ", e.Line)
	}
	return where + "a private key stands where only certificates belong: take it out, treat the key as known to others, and have a new one certified"
}
