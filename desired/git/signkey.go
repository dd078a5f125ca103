package git

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/crypto/ssh"
)

// Signer is a key that signs commits.
type Signer = ssh.Signer

// NewSigner makes a key, and its file in the format of OpenSSH.
func NewSigner(comment string) (file []byte, err error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make key for commits: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, fmt.Errorf("make key for commits: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}

// ParseSigner reads the file of a key that no passphrase protects.
func ParseSigner(file []byte) (Signer, error) {
	key, err := ssh.ParsePrivateKey(file)
	if err != nil {
		return nil, fmt.Errorf("read key for commits: %w", err)
	}
	return key, goodKey(key.PublicKey())
}

// SignerLine is a key as a line of a file of allowed signers.
func SignerLine(principal string, key Signer) string {
	return principal + ` namespaces="git" ` + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

// Lists says whether a key is one of a signer's.
func (s Signers) Lists(key Signer) bool {
	for _, line := range s.list {
		if !line.authority && sameKey(line.key, key.PublicKey()) {
			return true
		}
	}
	return false
}

// signCommit signs a commit; without a key it stays as it is.
func signCommit(c *object.Commit, key Signer) error {
	if key == nil {
		return nil
	}
	o := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(o); err != nil {
		return fmt.Errorf("encode commit: %w", err)
	}
	payload, err := readAll(o)
	if err != nil {
		return fmt.Errorf("encode commit: %w", err)
	}
	c.PGPSignature, err = signSSH(key, payload)
	return err
}
