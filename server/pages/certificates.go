package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (s *Site) certificateRoutes() {
	const one = "/instances/{name}/certificates/{certificate}"
	s.page("GET /instances/{name}/certificates", auth.RoleViewer, s.certificates)
	s.page("GET "+one, auth.RoleViewer, s.certificate)
	s.page("GET "+one+"/request", auth.RoleViewer, s.signingRequest)
	s.page("POST "+one+"/renew", auth.RoleAdmin, s.renewCertificate)
	s.page("GET "+one+"/rollback", auth.RoleAdmin, s.askCertificateRollback)
	s.page("POST "+one+"/rollback", auth.RoleAdmin, s.rollbackCertificate)
	s.page("GET /instances/{name}/connectors", auth.RoleViewer, s.connectors)
}

type certificatesPage struct {
	instanceHead
	Expiries []expiry
}

func (s *Site) certificates(v *visit) (reply, error) {
	head, err := s.headOf(v, "certificates")
	if err != nil {
		return nil, err
	}
	list, err := s.api.Certificates(v.Context(), head.Name)
	if err != nil {
		return nil, err
	}
	return head.view("certificates", head.Name+": certificates", certificatesPage{head, expiriesOf(list, time.Now())}), nil
}

type certificatePage struct {
	instanceHead
	Cert expiry
	Kept []int // newest first
	Base string
	CSR  *server.CertificateRequest
}

func certificatePath(instance, name string) string {
	return instancePath(instance) + "/certificates/" + url.PathEscape(name)
}

func (s *Site) certificate(v *visit) (reply, error) {
	head, err := s.headOf(v, "certificates")
	if err != nil {
		return nil, err
	}
	c, err := s.api.Certificate(v.Context(), head.Name, v.PathValue("certificate"))
	if err != nil {
		return nil, err
	}
	p := certificatePage{instanceHead: head, Cert: expiryOf(c, time.Now()), Kept: slices.Clone(c.Kept), Base: certificatePath(head.Name, c.Name)}
	slices.Sort(p.Kept)
	slices.Reverse(p.Kept)
	if c.CSR != "" {
		if request, err := s.api.CertificateRequest(v.Context(), head.Name, c.Name); err == nil {
			p.CSR = &request
		}
	}
	view := head.view("certificate", head.Name+": "+c.Name, p)
	view.Crumbs = head.subCrumbs(crumb{instancePath(head.Name) + "/certificates", "Certificates"})
	return view, nil
}

// download is a file.
type download struct{ name, kind, content string }

func (d download) send(v *visit) {
	v.w.Header().Set("Content-Type", d.kind)
	v.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", d.name))
	_, _ = v.w.Write([]byte(d.content)) // the reader may be gone
}

func (s *Site) signingRequest(v *visit) (reply, error) {
	name := v.PathValue("certificate")
	r, err := s.api.CertificateRequest(v.Context(), v.PathValue("name"), name)
	if err != nil {
		return nil, err
	}
	return download{name + ".csr", "application/x-pem-file", r.PEM}, nil
}

func (s *Site) renewCertificate(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	instance, name := v.PathValue("name"), v.PathValue("certificate")
	c, err := s.api.RenewCertificate(v.Context(), instance, name, form.Get("force") != "")
	if err != nil {
		return nil, err
	}
	text := "A successor was asked for. " + c.Message
	return v.to(certificatePath(instance, name), "ok", text), nil
}

// generationOf reads generation= of a form or an address.
func generationOf(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, &server.Error{Status: http.StatusUnprocessableEntity, Detail: fmt.Sprintf("generation: %q is not a number", clip(text, 40)), Hint: "choose one of the list"}
	}
	return n, nil
}

// asking is a page that asks once more.
type asking struct {
	instanceHead
	Text    string
	Confirm confirmation
	Report  *reconciler.PlanReport
	Line    string
	Failed  error
	Images  []imageChange
	Target  *reconciler.Generation
}

func (s *Site) askCertificateRollback(v *visit) (reply, error) {
	head, err := s.headOf(v, "certificates")
	if err != nil {
		return nil, err
	}
	name := v.PathValue("certificate")
	c, err := s.api.Certificate(v.Context(), head.Name, name)
	if err != nil {
		return nil, err
	}
	n, err := generationOf(v.URL.Query().Get("generation"))
	if err != nil {
		return nil, err
	}
	at := certificatePath(head.Name, name)
	view := head.view("ask", fmt.Sprintf("Roll back certificate %s", name), asking{instanceHead: head,
		Text:    fmt.Sprintf("Generation %d is served instead of generation %d, and handed to whoever gets this certificate. It stays until a newer one is published.", n, c.Generation),
		Confirm: confirmation{Action: at + "/rollback", Back: at, Button: fmt.Sprintf("Serve generation %d", n), Danger: true, Hidden: []option{{strconv.Itoa(n), "generation"}}}})
	view.Crumbs, view.Live = head.subCrumbs(crumb{at, name}), ""
	return view, nil
}

func (s *Site) rollbackCertificate(v *visit) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	n, err := generationOf(form.Get("generation"))
	if err != nil {
		return nil, err
	}
	instance, name := v.PathValue("name"), v.PathValue("certificate")
	c, err := s.api.RollbackCertificate(v.Context(), instance, name, n)
	if err != nil {
		return nil, err
	}
	return v.to(certificatePath(instance, name), "ok", fmt.Sprintf("Generation %d is served.", c.Generation)), nil
}

// connectorsPage lists the connectors of an instance; the pages of data tell
// the rest.
type connectorsPage struct {
	instanceHead
	Feeds   []feed
	Removed []string
}

func (s *Site) connectors(v *visit) (reply, error) {
	head, err := s.headOf(v, "connectors")
	if err != nil {
		return nil, err
	}
	list, err := s.api.Connectors(v.Context(), head.Name)
	if err != nil {
		return nil, err
	}
	return head.view("connectors", head.Name+": connectors", connectorsPage{head, feedsOf(list.Connectors), list.Removed}), nil
}
