package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mholt/acmez/v3/acme"
)

// account is an account as it lies on disk, with its key.
type account struct {
	Directory string `json:"directory"`
	Email     string `json:"email,omitempty"`
	Binding   string `json:"binding,omitempty"` // the key ID of the external account
	Location  string `json:"location"`
	Key       string `json:"key"`

	acme acme.Account
}

// account reads one. A file that is no account is errBroken.
func (s *store) account(name string) (*account, error) {
	var a account
	if err := s.load(accountsDir, name, &a); err != nil {
		return nil, err
	}
	key, err := decodeKey([]byte(a.Key))
	if err != nil || a.Location == "" {
		return nil, fmt.Errorf("account %s: %w", name, errBroken)
	}
	a.acme = acme.Account{Status: acme.StatusValid, Contact: contact(a.Email), TermsOfServiceAgreed: true, Location: a.Location, PrivateKey: key}
	return &a, nil
}

func contact(email string) []string {
	if email == "" {
		return nil
	}
	return []string{"mailto:" + email}
}

// accountName names the file of an issuer's account.
func accountName(i Issuer) string {
	binding := ""
	if i.EAB != nil {
		binding = i.EAB.KeyID
	}
	sum := sha256.Sum256([]byte(i.Directory + "\n" + i.Email + "\n" + binding))
	return hex.EncodeToString(sum[:12])
}

// accountOf returns the account at an issuer, and registers one if there is
// none, if it is damaged, or if it is the one that the authority has lost.
func (s *store) accountOf(ctx context.Context, c *acme.Client, i Issuer, lost string) (acme.Account, error) {
	name := accountName(i)
	var found acme.Account
	err := s.locked(ctx, "account-"+name, func() error {
		a, err := s.account(name)
		switch {
		case err == nil && a.Location != lost:
			found = a.acme
			return nil
		case errors.Is(err, errBroken):
			if err := s.aside(accountsDir, name); err != nil {
				return fmt.Errorf("set damaged account aside: %w", err)
			}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		found, err = s.register(ctx, c, i, name)
		return err
	})
	return found, err
}

// register makes an account. Naming an authority in the desired state is what
// agrees to its terms.
func (s *store) register(ctx context.Context, c *acme.Client, i Issuer, name string) (acme.Account, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return acme.Account{}, fmt.Errorf("make account key: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return acme.Account{}, err
	}
	made := acme.Account{Contact: contact(i.Email), TermsOfServiceAgreed: true, PrivateKey: key}
	on := account{Directory: i.Directory, Email: i.Email, Key: string(text)}
	if i.EAB != nil {
		on.Binding = i.EAB.KeyID
		if err := made.SetExternalAccountBinding(ctx, c, acme.EAB{KeyID: i.EAB.KeyID, MACKey: i.EAB.MACKey}); err != nil {
			return acme.Account{}, fmt.Errorf("bind account to %s: %w", i.EAB.KeyID, err)
		}
	}
	made, err = c.NewAccount(ctx, made)
	if err != nil {
		return acme.Account{}, fmt.Errorf("register account: %w", err)
	}
	on.Location = made.Location
	return made, s.save(ctx, accountsDir, name, on)
}
