package git

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The format of signatures is that of OpenSSH's PROTOCOL.sshsig.
const (
	sshsigBegin = "-----BEGIN SSH SIGNATURE-----"
	sshsigEnd   = "-----END SSH SIGNATURE-----"
	sshsigMagic = "SSHSIG"
	// maxSignature bounds the armour of a signature. One of RSA with a
	// certificate of many principals is below 16 KiB.
	maxSignature = 64 << 10
	// commitNamespace is what git signs in.
	commitNamespace = "git"
	// minRSABits is what OpenSSH makes at least since 2006. What is shorter can
	// be broken, or soon.
	minRSABits = 2048
)

// sshSignature is a signature that was read; nothing of it was verified.
type sshSignature struct {
	key       ssh.PublicKey // an *ssh.Certificate when it was made with one
	namespace string
	hash      string
	signature ssh.Signature
}

// sshsigBlob is the signature on the wire, after the magic.
type sshsigBlob struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// sshsigSigned is what the signature is over, after the magic.
type sshsigSigned struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    []byte
}

// parseSSHSignature reads an armoured signature strictly: nothing may stand
// before, after or inside it that is not part of it.
func parseSSHSignature(armoured string) (*sshSignature, error) {
	if len(armoured) > maxSignature {
		return nil, fmt.Errorf("read signature: it is longer than %d KiB", maxSignature>>10)
	}
	body, ok := strings.CutPrefix(strings.TrimRight(armoured, "\n"), sshsigBegin+"\n")
	if body, found := strings.CutSuffix(body, "\n"+sshsigEnd); ok && found {
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(body, "\n", ""))
		if err != nil {
			return nil, errors.New("read signature: its armour is damaged")
		}
		return parseSSHBlob(raw)
	}
	return nil, errors.New("read signature: it is not one of ssh-keygen")
}

func parseSSHBlob(raw []byte) (*sshSignature, error) {
	rest, ok := strings.CutPrefix(string(raw), sshsigMagic)
	if !ok {
		return nil, errors.New("read signature: it is not one of ssh-keygen")
	}
	var blob sshsigBlob
	if err := ssh.Unmarshal([]byte(rest), &blob); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if blob.Version != 1 {
		return nil, fmt.Errorf("read signature: version %d is not known", blob.Version)
	}
	key, err := ssh.ParsePublicKey(blob.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read key of signature: %w", err)
	}
	s := &sshSignature{key: key, namespace: blob.Namespace, hash: blob.Hash}
	if err := ssh.Unmarshal(blob.Signature, &s.signature); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	return s, nil
}

// plainKey is the key itself, without the certificate around it.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// verify says whether the signature is of message in a namespace. It says
// nothing of whose it is.
func (s *sshSignature) verify(message []byte, namespace string) error {
	if s.namespace != namespace {
		return fmt.Errorf("it was made for %q, not for %s", clip(s.namespace), namespace)
	}
	digest, err := sshDigest(s.hash, message)
	if err != nil {
		return err
	}
	key := plainKey(s.key)
	if err := goodKey(key); err != nil {
		return err
	}
	if key.Type() == ssh.KeyAlgoRSA && s.signature.Format != ssh.KeyAlgoRSASHA256 && s.signature.Format != ssh.KeyAlgoRSASHA512 {
		return fmt.Errorf("it is of the kind %s, which can be forged", clip(s.signature.Format))
	}
	if err := key.Verify(sshSigned(namespace, s.hash, digest), &s.signature); err != nil {
		return errors.New("it is not of this commit, or was damaged")
	}
	return nil
}

// goodKey refuses keys whose signatures prove nothing.
func goodKey(key ssh.PublicKey) error {
	if key.Type() == ssh.InsecureKeyAlgoDSA {
		return errors.New("its key is DSA, which OpenSSH has given up")
	}
	if crypto, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
			return fmt.Errorf("its RSA key has %d bits, and needs %d", k.N.BitLen(), minRSABits)
		}
	}
	return nil
}

func sshDigest(hash string, message []byte) ([]byte, error) {
	switch hash {
	case "sha256":
		sum := sha256.Sum256(message)
		return sum[:], nil
	case "sha512":
		sum := sha512.Sum512(message)
		return sum[:], nil
	}
	return nil, fmt.Errorf("its hash %q is not known", clip(hash))
}

func sshSigned(namespace, hash string, digest []byte) []byte {
	return append([]byte(sshsigMagic), ssh.Marshal(sshsigSigned{Namespace: namespace, Hash: hash, Digest: digest})...)
}

// signSSH makes an armoured signature of message as git would.
func signSSH(key ssh.Signer, message []byte) (string, error) {
	const hash = "sha512"
	digest, err := sshDigest(hash, message)
	if err != nil {
		return "", err
	}
	sig, err := key.Sign(rand.Reader, sshSigned(commitNamespace, hash, digest))
	if err != nil {
		return "", fmt.Errorf("sign commit: %w", err)
	}
	blob := ssh.Marshal(sshsigBlob{Version: 1, PublicKey: key.PublicKey().Marshal(), Namespace: commitNamespace, Hash: hash, Signature: ssh.Marshal(sig)})
	text := base64.StdEncoding.EncodeToString(append([]byte(sshsigMagic), blob...))
	lines := []string{sshsigBegin}
	for ; len(text) > 70; text = text[70:] { // as ssh-keygen breaks it
		lines = append(lines, text[:70])
	}
	return strings.Join(append(lines, text, sshsigEnd), "\n"), nil
}

// clip shortens what others wrote before it is part of a message.
func clip(s string) string {
	s = strings.ToValidUTF8(lastLines([]byte(s)), "?")
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
