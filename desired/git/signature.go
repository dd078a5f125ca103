package git

import (
	"bytes"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// signatureOf reads the signature of a commit out of its bytes.
func signatureOf(st *store, c *object.Commit, h plumbing.Hash) (desired.Signature, error) {
	raw, err := st.read(plumbing.CommitObject, h)
	if err != nil {
		return desired.Signature{}, err
	}
	armoured, payload := splitSignature(raw)
	return desired.Signature{Armoured: armoured, Payload: payload, Time: c.Committer.When}, nil
}

// splitSignature parts a commit into its signature and what that is of, as
// git's parse_signed_commit does: the headers gpgsig and gpgsig-sha256 with the
// lines that go on from them are left out, and nothing else is changed. Two
// signatures are none: which one counts would be a matter of the reader.
func splitSignature(raw []byte) (armoured string, payload []byte) {
	var sig strings.Builder
	signatures, inside := 0, ""
	for rest := raw; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		if line[0] == '\n' { // the message begins
			payload = append(payload, rest...)
			break
		}
		rest = rest[len(line):]
		if line[0] != ' ' {
			name, value, _ := bytes.Cut(line, []byte(" "))
			if inside = string(name); inside == "gpgsig" {
				signatures++
				sig.Write(value)
				continue
			}
		} else if inside == "gpgsig" {
			sig.Write(line[1:])
			continue
		}
		if inside != "gpgsig-sha256" {
			payload = append(payload, line...)
		}
	}
	if signatures > 1 {
		return "", payload
	}
	return sig.String(), payload
}
