package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// corporate is the name of the certificate of the story.
const corporate = "corporate"

// corporateDays is a certificate of an authority that nobody outside the company knows.
func corporateDays() []step {
	return []step{
		{
			title: "Corporate certificate: the key is made here; self-signed until the authority answers",
			ask: commits("Ask the corporate authority for the certificate", func(d *demo) error {
				if err := d.edit("instance.yaml", "\nfront:\n", "\n"+d.certificateYAML()+"\nfront:\n"); err != nil {
					return err
				}
				return d.edit("instance.yaml", "{host: "+d.host()+",", "{host: "+d.host()+", certificate: "+corporate+",")
			}),
			arrived: requested,
			checks:  []check{showsSelfSigned, untouched("app"), nobodyWaited},
			show:    []string{"cert", "show", corporate},
		},
		{
			title: "The authority signs the request: its chain is served, on the same key",
			ask:   signs, arrived: certified(1),
			checks: []check{showsIssued, sameKey, untouched("app"), nobodyWaited},
			then:   showHandshake,
		},
		{
			title: "The authority's web server answers 200 with a page for signing in: refused, the last good one stays",
			ask:   breaks, arrived: candidateRefused,
			checks: []check{showsIssued, untouched("app"), nobodyWaited},
			show:   []string{"cert", "show", corporate},
		},
		{
			title: "The authority rotates: the successor is served in front of the running app",
			ask:   signs, arrived: certified(2),
			checks: []check{showsIssued, sameKey, untouched("app"), nobodyWaited},
			show:   []string{"cert", "ls"},
		},
	}
}

func (d *demo) certificateYAML() string {
	return "certificates:\n  " + corporate + ":\n    domains: [" + d.host() + "]\n    fullchain: " + d.chainURL() +
		"\n    every: 10s    # 1h is usual\n    fallback: self-signed\n"
}

// certificateOf finds the certificate of the story.
func (v view) certificate() (c reconciler.CertificateStatus) {
	for _, c := range v.status.Certificates {
		if c.Name == corporate {
			return c
		}
	}
	return c
}

func requested(v view) bool {
	c := v.certificate()
	return synced(v) && v.status.Applied.Commit == v.head && c.Phase == reconciler.CertificateAwaitsIssuer && c.SelfSigned && c.CSR != ""
}

// certified says whether the authority's n-th certificate is live.
func certified(n int) func(view) bool {
	return func(v view) bool {
		c := v.certificate()
		return synced(v) && c.Phase == reconciler.CertificateLive && c.Serial == serialOf(n)
	}
}

func candidateRefused(v view) bool {
	c := v.certificate()
	return c.Phase == reconciler.CertificateDegraded && len(c.Refused) > 0 && c.Serial == serialOf(1)
}

// signs has the authority sign what `fairlead cert csr` prints, as if by ticket.
func signs(ctx context.Context, d *demo) ([]string, error) {
	d.asked = time.Now()
	request, err := d.fairlead(ctx, "cert", "csr", corporate)
	if err != nil {
		return nil, err
	}
	leaf, chain, err := d.authority.sign(request)
	if err != nil {
		return nil, err
	}
	d.leaf = leaf
	if err := writeFile(d.chainFile(), chain); err != nil {
		return nil, fmt.Errorf("publish chain: %w", err)
	}
	lines := []string{"fairlead cert csr " + corporate + "    # a request for the key of this host; the authority signs it",
		"the authority publishes the chain at " + d.chainURL()}
	return append(lines, "nothing more: the daemon asks there every 10s"), nil
}

// breaks puts a page where the chain was.
func breaks(ctx context.Context, d *demo) ([]string, error) {
	d.asked = time.Now()
	page := "<!doctype html>\n<title>Sign in</title>\n<p>Your session has ended. Please sign in."
	if err := writeFile(d.chainFile(), page); err != nil {
		return nil, fmt.Errorf("publish page: %w", err)
	}
	code, said, err := d.fairleadCode(ctx, "cert", "renew", corporate)
	if err == nil && code != 6 {
		err = fmt.Errorf("fairlead cert renew ends with %d: %s", code, said)
	}
	return []string{d.chainURL() + " answers 200 with a page for signing in",
		"fairlead cert renew " + corporate + "    # asks now; it ends with 6: refused"}, err
}

// handshake is what openssl s_client says of the front.
func (d *demo) handshake(ctx context.Context) (string, *x509.Certificate, error) {
	said, err := output(ctx, "", nil, "openssl", "s_client", "-connect", d.front(), "-servername", d.host(), "-verify_hostname", d.host(),
		"-CAfile", d.rootFile())
	if err != nil {
		return "", nil, err
	}
	block, _ := pem.Decode([]byte(said))
	if block == nil {
		return said, nil, errors.New("openssl s_client shows no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	return said, leaf, err
}

const verified = "Verify return code: 0 (ok)"

// showsSelfSigned checks what is served before the authority answers, and remembers its key.
var showsSelfSigned = check{"openssl s_client is shown a self-signed certificate", func(ctx context.Context, d *demo) error {
	said, leaf, err := d.handshake(ctx)
	if err != nil {
		return err
	}
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) != nil || strings.Contains(said, verified) {
		return fmt.Errorf("it is of %s", leaf.Issuer)
	}
	d.key = string(leaf.RawSubjectPublicKeyInfo)
	return nil
}}

// showsIssued checks that new connections are shown what the authority signed last, and that who trusts it trusts them.
var showsIssued = check{"openssl s_client is shown what the authority signed, and trusts it", func(ctx context.Context, d *demo) error {
	said, leaf, err := d.handshake(ctx)
	if err != nil {
		return err
	}
	if !leaf.Equal(d.leaf) {
		return fmt.Errorf("it is shown serial %x of %s, not %x", leaf.SerialNumber, leaf.Issuer, d.leaf.SerialNumber)
	}
	if !strings.Contains(said, verified) {
		return errors.New("it does not trust it")
	}
	return nil
}}

var sameKey = check{"its key is the one that was made on this host in the beginning", func(_ context.Context, d *demo) error {
	if string(d.leaf.RawSubjectPublicKeyInfo) != d.key {
		return errors.New("it is another one")
	}
	return nil
}}

// showHandshake prints of openssl s_client what people look for.
func showHandshake(ctx context.Context, d *demo) error {
	said, _, err := d.handshake(ctx)
	if err != nil {
		return err
	}
	lines := []string{"openssl s_client -connect " + d.front() + " -servername " + d.host() + " -CAfile " + d.rootFile()}
	for _, line := range strings.Split(said, "\n") {
		line = strings.TrimSpace(line)
		wanted := slices.ContainsFunc([]string{"subject=", "issuer=", "New, TLS", "Verify return code"}, func(start string) bool {
			return strings.HasPrefix(line, start)
		})
		if wanted && !slices.Contains(lines, line) { // openssl repeats some
			lines = append(lines, line)
		}
	}
	d.out.line("")
	d.out.block("$", lines)
	return nil
}

func (p place) rootFile() string  { return p.in(filepath.Join("authority", "root.pem")) }
func (p place) chainFile() string { return p.in(filepath.Join("authority", "www", "chain.pem")) }

// authorityURL is where the authority publishes; empty until it does.
func (p place) authorityURL() string {
	data, err := os.ReadFile(p.in(authorityAddress))
	if err != nil {
		return ""
	}
	return "https://" + strings.TrimSpace(string(data))
}

func (p place) chainURL() string { return p.authorityURL() + "/chain.pem" }
