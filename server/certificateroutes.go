package server

import (
	"context"
	"net/http"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

const certificateTag = "certificates"

// OfCertificate is the input of a call about one certificate.
type OfCertificate struct {
	OfInstance
	Certificate string `path:"certificate" maxLength:"128" doc:"the certificate" example:"web"`
}

// certificateRoutes are about certificates.
func (a *API) certificateRoutes(r *router) {
	const all, one = "/api/instances/{name}/certificates", "/api/instances/{name}/certificates/{certificate}"
	declare := func(method, path, id, summary string, role auth.Role) operation {
		return operation{method: method, path: path, id: id, summary: summary, tag: certificateTag, role: role}
	}
	route(r, declare(http.MethodGet, all, "listCertificates", "The certificates of an instance", auth.RoleViewer),
		func(ctx context.Context, in *OfInstance) ([]reconciler.CertificateStatus, error) {
			return a.Certificates(ctx, in.Name)
		})
	route(r, declare(http.MethodGet, one, "getCertificate", "A certificate", auth.RoleViewer),
		func(ctx context.Context, in *OfCertificate) (reconciler.CertificateStatus, error) {
			return a.Certificate(ctx, in.Name, in.Certificate)
		})
	route(r, declare(http.MethodGet, one+"/request", "getCertificateRequest", "The signing request for the key of this host", auth.RoleViewer),
		func(ctx context.Context, in *OfCertificate) (CertificateRequest, error) {
			return a.CertificateRequest(ctx, in.Name, in.Certificate)
		})
	route(r, declare(http.MethodPost, one+"/renew", "renewCertificate", "Ask for a successor now", auth.RoleAdmin),
		func(ctx context.Context, in *struct {
			OfCertificate
			Body *RenewRequest
		}) (reconciler.CertificateStatus, error) {
			return a.RenewCertificate(ctx, in.Name, in.Certificate, orZero(in.Body).Force)
		})
	route(r, declare(http.MethodPost, one+"/rollback", "rollBackCertificate", "Make an older pair the live one", auth.RoleAdmin),
		func(ctx context.Context, in *struct {
			OfCertificate
			Body *CertificateRollback
		}) (reconciler.CertificateStatus, error) {
			return a.RollbackCertificate(ctx, in.Name, in.Certificate, orZero(in.Body).Generation)
		})
	route(r, declare(http.MethodPost, "/api/instances/{name}/certificate-test", "testCertificate", "Fetch and check a certificate without publishing it", auth.RoleAdmin),
		func(ctx context.Context, in *struct {
			OfInstance
			Body *CertificateTest
		}) (CertificateReport, error) {
			return a.TestCertificate(ctx, in.Name, orZero(in.Body))
		})
}
