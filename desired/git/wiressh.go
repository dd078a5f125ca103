package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"golang.org/x/crypto/ssh"
)

// sshWire runs git-upload-pack and git-receive-pack on the server. The
// connection is closed when the context ends, so that a silent server cannot
// hold anything up, neither in the handshake nor later.
type sshWire struct {
	to   address
	auth Auth
}

func (w *sshWire) close() {}

func (w *sshWire) open(watch *watch, service string) (session, error) {
	config, err := w.auth.sshConfig(w.to)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(watch.ctx, "tcp", w.to.host)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", w.to, err)
	}
	s := &sshSession{to: w.to, unhook: context.AfterFunc(watch.ctx, func() { conn.Close() }), conn: conn}
	if err := s.start(watch, config, service); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

type sshSession struct {
	to     address
	conn   net.Conn
	client *ssh.Client
	cmd    *ssh.Session
	in     io.WriteCloser
	out    io.Reader
	errs   tail
	unhook func() bool
	asked  bool
	ar     *packp.AdvRefs
}

func (s *sshSession) start(w *watch, config *ssh.ClientConfig, service string) error {
	c, chans, reqs, err := ssh.NewClientConn(s.conn, s.to.host, config)
	if err != nil {
		return s.handshakeError(err)
	}
	s.client = ssh.NewClient(c, chans, reqs)
	if s.cmd, err = s.client.NewSession(); err != nil {
		return fmt.Errorf("reach %s: open session: %w", s.to, err)
	}
	s.cmd.Stderr = &s.errs
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("reach %s: open session: %w", s.to, err)
	}
	if s.out, err = s.cmd.StdoutPipe(); err != nil {
		return fmt.Errorf("reach %s: open session: %w", s.to, err)
	}
	s.out = w.reader(s.out)
	if err := s.cmd.Start(service + " " + quote(s.to.path)); err != nil {
		return fmt.Errorf("reach %s: start %s: %w", s.to, service, err)
	}
	if s.ar, err = readRefs(s.out, service); err != nil {
		return s.commandError(err)
	}
	return nil
}

// handshakeError tells a refused key from everything else; x/crypto/ssh has no
// type for it.
func (s *sshSession) handshakeError(err error) error {
	if strings.Contains(err.Error(), "unable to authenticate") {
		return fmt.Errorf("reach %s: %w: the server does not accept the key of sshKeyFile for user %q; add its public half there",
			s.to, ErrAuth, strings.SplitN(strings.TrimPrefix(s.to.String(), "ssh://"), "@", 2)[0])
	}
	return fmt.Errorf("reach %s: %w", s.to, err)
}

// commandError adds what the server wrote to its error output, which is where
// git hosts say that there is no such repository.
func (s *sshSession) commandError(err error) error {
	if errors.Is(err, ErrEmpty) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		_ = s.cmd.Wait() // ends when the output is copied; the connection's end ends it too
	}
	said := s.errs.text()
	lower := strings.ToLower(said)
	for _, sign := range []string{"not found", "does not appear to be a git repository", "does not exist", "could not read from remote"} {
		if strings.Contains(lower, sign) {
			return fmt.Errorf("reach %s: %w: the server says: %s", s.to, ErrNotFound, said)
		}
	}
	if said != "" {
		return fmt.Errorf("reach %s: %w; the server says: %s", s.to, err, said)
	}
	return fmt.Errorf("reach %s: %w", s.to, err)
}

func (s *sshSession) refs() *packp.AdvRefs { return s.ar }

func (s *sshSession) exchange(_ *watch, request *bytes.Buffer) (io.ReadCloser, error) {
	s.asked = true
	if _, err := io.Copy(s.in, request); err != nil {
		return nil, s.commandError(fmt.Errorf("send request: %w", err))
	}
	if err := s.in.Close(); err != nil && !errors.Is(err, io.EOF) {
		return nil, s.commandError(fmt.Errorf("send request: %w", err))
	}
	return io.NopCloser(s.out), nil
}

// close ends the connection and waits until the copying of the error output is done.
func (s *sshSession) close() {
	s.unhook()
	if s.client == nil {
		s.conn.Close()
		return
	}
	if s.ar != nil && !s.asked {
		_, _ = io.WriteString(s.in, "0000") // nothing is wanted
	}
	s.client.Close()
	if s.cmd != nil {
		s.cmd.Close()
	}
	_ = s.client.Wait()
}

// quote makes path one word for the shell that most servers run commands with.
func quote(path string) string {
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// tail keeps the first few kilobytes that a server writes to its error output.
type tail struct {
	mu sync.Mutex // guards what follows
	b  []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[:min(len(p), tailBytes-len(t.b))]...)
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastLines(t.b)
}
