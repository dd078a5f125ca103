package reconciler

import (
	"maps"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Certificates keeps the certificates of the instances. Package certs
// implements it.
type Certificates interface {
	// Set says which certificates an instance wants until the next Set. It says
	// what should be, so calling it again costs nothing, and it never waits: what
	// comes of it is in Certificates, and in what is served.
	Set(instance string, want WantedCertificates)
	// Certificates tells of the certificates of an instance, in order of name.
	Certificates(instance string) []CertificateStatus
}

// WantedCertificates are those of one instance.
type WantedCertificates struct {
	ByName map[string]desired.CertificateSpec
	// Hosts are served by the front and name no certificate: each has a
	// self-signed one.
	Hosts []string
	// Commit is that of the desired state that says so.
	Commit string
}

// CertificatePhase is where a certificate stands.
type CertificatePhase string

// The phases of a certificate.
const (
	// CertificatePending has nothing to serve yet.
	CertificatePending CertificatePhase = "Pending"
	// CertificateAwaitsIssuer has a signing request, or an order, that nobody
	// has answered yet. A self-signed one may be served meanwhile.
	CertificateAwaitsIssuer CertificatePhase = "AwaitingIssuer"
	// CertificateSelfSigned is meant to be self-signed, and is.
	CertificateSelfSigned CertificatePhase = "SelfSigned"
	// CertificateLive is real, valid and proved to be served everywhere.
	CertificateLive CertificatePhase = "Live"
	// CertificateDegraded serves what is valid, but its successor was refused
	// or could not be fetched when due, or somebody does not serve it.
	CertificateDegraded CertificatePhase = "Degraded"
	// CertificateExpired is real and over. It is served all the same.
	CertificateExpired CertificatePhase = "Expired"
	// CertificateClockSuspect decides nothing, since the clock cannot be right.
	CertificateClockSuspect CertificatePhase = "ClockSuspect"
)

// CertificateStatus is what is known of one certificate. It holds nothing
// secret.
type CertificateStatus struct {
	Name    string           `json:"name"` // of the desired state; or a host that names none
	Domains []string         `json:"domains"`
	Phase   CertificatePhase `json:"phase"`
	// Reason is one word, stable; Message says more, Hint what to do.
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	Since   time.Time `json:"since,omitzero"` // of phase and reason

	Source     string `json:"source"` // "https://pki.acme.com/fullchain.pem", an ACME directory, "self-signed"
	SelfSigned bool   `json:"self_signed,omitempty"`
	Issuer     string `json:"issuer,omitempty"` // of what is served, as all that follows
	Serial     string `json:"serial,omitempty"`
	Leaf       string `json:"leaf,omitempty"` // fingerprint
	SPKI       string `json:"spki,omitempty"` // fingerprint of the public key
	Commit     string `json:"commit,omitempty"`
	Generation int    `json:"generation,omitempty"`
	// Kept are the generations that Rollback could take.
	Kept      []int     `json:"kept,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Published time.Time `json:"published,omitzero"`
	RenewAt   time.Time `json:"renew_at,omitzero"`   // when a successor is wanted
	NextTry   time.Time `json:"next_try,omitzero"`   // when the source is asked again
	LastAsked time.Time `json:"last_asked,omitzero"` // when it answered last
	Staged    time.Time `json:"staged,omitzero"`     // from when a successor that is there is served

	// Refused is why the newest candidate is not served, Notes what was
	// repaired or is worth knowing.
	Refused []CertificateProblem `json:"refused,omitempty"`
	Notes   []CertificateProblem `json:"notes,omitempty"`
	// Targets are the directories and servers that get it.
	Targets []CertificateTarget `json:"targets,omitempty"`
	// CSR is the file with the signing request, where the key is made here.
	CSR string `json:"csr,omitempty"`
}

// CertificateProblem is one thing that was found wrong or repaired.
type CertificateProblem struct {
	Code     string `json:"code"`
	Found    string `json:"found"`
	Expected string `json:"expected,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// CertificateTarget is a directory or a server that gets a certificate.
type CertificateTarget struct {
	Name    string    `json:"name"` // "/srv/caddy/tls", "caddy SIGUSR1", "http://127.0.0.1:2019"
	OK      bool      `json:"ok"`   // it has, or was proved to serve, what is live
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at,omitzero"` // of the last proof or try
}

// keepCertificates says which certificates are wanted: those of what is
// applied, and of what is on its way beside them, so that hosts which are led
// already keep theirs until the new generation stands.
func (r *Instance) keepCertificates(coming *loaded) {
	if r.cfg.Certificates == nil {
		return
	}
	want := WantedCertificates{ByName: map[string]desired.CertificateSpec{}}
	if r.good != nil {
		want.add(r.good.target.Spec, r.good.Revision.Commit)
	}
	if coming != nil {
		want.add(coming.spec, coming.rev.Commit)
	}
	r.cfg.Certificates.Set(r.cfg.Name, want)
}

// add wants what a specification names as well. Of two of one name the newer
// one counts.
func (w *WantedCertificates) add(spec desired.Spec, commit string) {
	maps.Copy(w.ByName, spec.Certificates)
	for _, f := range spec.Front {
		if f.Certificate == "" && !slices.Contains(w.Hosts, f.Host) {
			w.Hosts = append(w.Hosts, f.Host)
		}
	}
	slices.Sort(w.Hosts)
	w.Commit = commit
}

// certify adds what is known of the certificates. One that waits for its
// authority is no fault: whoever is asked takes days.
func (s *Status) certify(list []CertificateStatus) {
	if len(list) == 0 {
		return
	}
	s.Certificates = list
	worst := list[0]
	for _, c := range list[1:] {
		if c.Phase.rank() > worst.Phase.rank() {
			worst = c
		}
	}
	c := Condition{Type: CertificatesReady, Status: "False", Reason: string(worst.Phase), Message: worst.describe(), Since: worst.Since}
	switch worst.Phase {
	case CertificateLive, CertificateSelfSigned:
		c.Status, c.Reason, c.Message = "True", "Ready", Count(len(list), "certificate")
	case CertificateClockSuspect:
		c.Status = "Unknown"
	}
	s.Conditions = append(s.Conditions, c)
	if worst.Phase.rank() >= CertificatePending.rank() && s.Health == Healthy {
		s.Health = Degraded
	}
}

func (c CertificateStatus) describe() string {
	text := c.Name + ": " + c.Message
	if c.Message == "" {
		text = c.Name + " is " + string(c.Phase)
	}
	if c.Hint != "" {
		text += "; " + c.Hint
	}
	return text
}

// rank orders phases by how much they matter to whoever is woken.
func (p CertificatePhase) rank() int {
	switch p {
	case CertificateLive, CertificateSelfSigned:
		return 0
	case CertificateAwaitsIssuer:
		return 1
	case CertificatePending:
		return 2
	case CertificateClockSuspect:
		return 3
	case CertificateDegraded:
		return 4
	}
	return 5
}
