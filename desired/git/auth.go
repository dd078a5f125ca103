package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// maxSecret bounds a token, password or key file.
const maxSecret = 64 << 10

// readSecret reads a file of one secret, without the newline that editors add.
func readSecret(what, file string) (string, error) {
	b, err := readBounded(file, maxSecret)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", fmt.Errorf("read %s: %s is empty", what, file)
	}
	if strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("read %s: %s holds more than one line", what, file)
	}
	return s, nil
}

func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %w (more than %d bytes)", file, ErrTooLarge, limit)
	}
	return b, nil
}

// basic gives the credentials for http, or ok false when there are none.
func (a Auth) basic(to address) (user, pass string, ok bool, err error) {
	user = a.Username
	switch {
	case a.TokenFile != "":
		pass, err = readSecret("tokenFile", a.TokenFile)
		if user == "" {
			user = tokenUser(to.url.Hostname())
		}
	case a.PasswordFile != "":
		pass, err = readSecret("passwordFile", a.PasswordFile)
		if user == "" {
			err = errors.Join(err, errors.New("read credentials: passwordFile is given, but no username"))
		}
	case to.user != "":
		user, pass = to.user, to.pass
	default:
		return "", "", false, nil
	}
	if err == nil && to.url.Scheme == "http" && !to.loopback() {
		err = errors.New("send credentials: the URL is http://, where anybody on the way can read them; use https://")
	}
	return user, pass, err == nil, err
}

// tokenUser is the user name that a host wants beside a token. All but
// Bitbucket take any: https://support.atlassian.com/bitbucket-cloud/docs/using-access-tokens/
func tokenUser(host string) string {
	if host == "bitbucket.org" {
		return "x-token-auth"
	}
	return "x-access-token"
}

// sshConfig makes a client configuration that accepts pinned host keys only.
func (a Auth) sshConfig(to address) (*ssh.ClientConfig, error) {
	signer, err := a.sshKey()
	if err != nil {
		return nil, err
	}
	check, err := a.hostKeys(to.host)
	if err != nil {
		return nil, err
	}
	return &ssh.ClientConfig{
		User:              to.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   explainHostKey(check, a.KnownHostsFile),
		HostKeyAlgorithms: pinnedAlgorithms(check, to.host),
	}, nil
}

func (a Auth) sshKey() (ssh.Signer, error) {
	if a.SSHKeyFile == "" {
		return nil, errors.New("read sshKeyFile: none is given; an ssh repository needs one (ssh-keygen -t ed25519 -N '' -f FILE)")
	}
	pem, err := readBounded(a.SSHKeyFile, maxSecret)
	if err != nil {
		return nil, fmt.Errorf("read sshKeyFile: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("read sshKeyFile: %s has a passphrase, which nobody could type; use a key without one", a.SSHKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read sshKeyFile: %s is not a private key in PEM or OpenSSH format", a.SSHKeyFile)
	}
	return signer, nil
}

func (a Auth) hostKeys(host string) (ssh.HostKeyCallback, error) {
	if a.KnownHostsFile == "" {
		return nil, fmt.Errorf("%w: no knownHostsFile is given; make one with %s, and compare the fingerprint with the one the host publishes",
			ErrHostKey, scanCommand(host))
	}
	check, err := knownhosts.New(a.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("%w: read knownHostsFile: %w", ErrHostKey, err)
	}
	return check, nil
}

func scanCommand(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port == "22" {
		return "ssh-keyscan " + host
	}
	return "ssh-keyscan -p " + port + " " + host
}

func explainHostKey(check ssh.HostKeyCallback, file string) ssh.HostKeyCallback {
	return func(host string, addr net.Addr, key ssh.PublicKey) error {
		err := check(host, addr, key)
		var ke *knownhosts.KeyError
		if !errors.As(err, &ke) {
			return err // nil, or revoked
		}
		print := ssh.FingerprintSHA256(key)
		if len(ke.Want) == 0 {
			return fmt.Errorf("%w: %s is not in %s (it shows %s %s); check the fingerprint and add the output of %s",
				ErrHostKey, host, file, key.Type(), print, scanCommand(host))
		}
		return fmt.Errorf("%w: %s shows %s %s, which is not the key in %s line %d: either the server was set up anew or somebody is in between; do not go on before you know which",
			ErrHostKey, host, key.Type(), print, file, ke.Want[0].Line)
	}
}

// pinnedAlgorithms asks the server for the kinds of key that are pinned:
// without it a server may offer its ECDSA key where the Ed25519 one is known
// (https://github.com/golang/go/issues/29286).
func pinnedAlgorithms(check ssh.HostKeyCallback, host string) []string {
	var ke *knownhosts.KeyError
	if !errors.As(check(host, &net.TCPAddr{IP: net.IPv4zero}, nobodysKey{}), &ke) {
		return nil
	}
	var algorithms []string
	for _, k := range ke.Want {
		if k.Key.Type() == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		}
		algorithms = append(algorithms, k.Key.Type())
	}
	return algorithms
}

// nobodysKey is equal to no key, so that asking for it lists those that are pinned.
type nobodysKey struct{}

func (nobodysKey) Type() string                        { return "none" }
func (nobodysKey) Marshal() []byte                     { return []byte("none") }
func (nobodysKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

// lastLines makes text of a server fit for an error: short, printable.
func lastLines(b []byte) string {
	text := strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r != 0x7f && r < 0x80 || r > 0xa0 {
			return r
		}
		return -1
	}, string(bytes.TrimSpace(b)))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
